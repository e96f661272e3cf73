import pytest

from museg.data.file_faults import FileFaults, json_file, json_list, numbered_lines, parsed_json


def test_faults_are_collected_and_raised_together(tmp_path):
    faults = FileFaults(tmp_path / "rows.json")
    for number in range(30):
        with faults.at(f"row {number}"):
            if number != 3:
                raise ValueError(f"rule {number}")
    with pytest.raises(ValueError) as raised:
        faults.raise_if_any("mend them")
    # a heading, the first twenty, and how many more
    lines = str(raised.value).splitlines()
    assert lines[0].endswith("rows.json: 29 row(s) cannot be used; mend them:")
    assert lines[1:5] == ["  row 0: rule 0", "  row 1: rule 1", "  row 2: rule 2", "  row 4: rule 4"]
    assert len(lines) == 22 and lines[-1] == "  and 9 more"


def test_nothing_is_raised_without_a_fault_and_other_errors_pass_through(tmp_path):
    faults = FileFaults(tmp_path)
    faults.raise_if_any()
    with pytest.raises(KeyError), faults.at("row 0"):
        raise KeyError("ours")


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"a\n\n \r\nb\r\nc")
    assert list(numbered_lines(path)) == [(1, b"a\n"), (4, b"b\r\n"), (5, b"c")]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"{", "is not JSON"),
        (b"\xff", r"is not UTF-8 \(byte 1\)"),
        (b"{\n\xff", r"is not UTF-8 \(byte 3, line 2\)"),
        (b"9" * 5000, "is not JSON"),  # Python reads no whole number of so many digits
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_json_is_said(content, rule):
    with pytest.raises(ValueError, match=rule):
        parsed_json(content)


def test_files_name_themselves_and_have_no_key_twice(tmp_path):
    path = tmp_path / "rows.json"
    path.write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert json_list(path) == [{"a": 1}]
    path.write_bytes(b'{"a": {"b": 1, "b": 2}}')
    with pytest.raises(ValueError, match=r"rows\.json .*'b' twice"):
        json_file(path)
    path.write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"rows\.json must hold a JSON list"):
        json_list(path)
