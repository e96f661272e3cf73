import json
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.data import json_rows as module
from museg.data.json_rows import json_rows

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=4,
)


@given(st.lists(values, max_size=5), st.integers(1, 40), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_rows_are_those_of_the_whole_list_wherever_reading_stops(tmp_path_factory, rows, chunk, indent, is_ascii):
    path = tmp_path_factory.mktemp("rows") / "rows.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=is_ascii), encoding="utf-8", errors="surrogatepass")
    if not is_ascii and re.search("[\ud800-\udfff]", json.dumps(rows, ensure_ascii=False)):
        return  # half a surrogate pair is no UTF-8
    before, module.CHUNK_CHARS = module.CHUNK_CHARS, chunk
    try:
        assert list(json_rows(path)) == list(enumerate(rows))
    finally:
        module.CHUNK_CHARS = before


def test_a_byte_order_mark_and_blanks_are_no_matter(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf \r\n[\n 1 ,\t{} ] \n")
    assert list(json_rows(tmp_path / "a.json")) == [(0, 1), (1, {})]
    (tmp_path / "b.json").write_text(" [ ] ")
    assert list(json_rows(tmp_path / "b.json")) == []


NO_LIST = [
    ("", "must hold a JSON list, one entry a row, behind its first 0 rows"),
    ('{"a": 1}', "must hold a JSON list"),
    ("[1, 2", r"is not JSON \(Expecting ',' or ']': character 5\), behind its first 2 rows"),
    ("[1 2]", r"Expecting ',' or ']': character 3\), behind its first 1 rows"),
    ("[1, 2,]", r"Expecting value: character 6\), behind its first 2 rows"),
    ("[,1]", r"Expecting value: character 1"),
    ("[1] [2]", r"Expecting nothing more: character 4"),
    ('[{"a": 1}, {"a" 2}]', r"Expecting ':' delimiter: character 16\), behind its first 1 rows"),
    ('[{"a": "no end', "Unterminated string starting at: character 7"),
    ('["\\x"]', "Invalid .*escape"),
    ("[tru", "Expecting value"),
    (f"[{'9' * 5000}]", "Exceeds the limit"),
    ("[" * 100_000, "recursion"),
]


@pytest.mark.parametrize(("text", "reason"), NO_LIST)
@pytest.mark.parametrize("chunk", [3, 2**20])
def test_what_is_no_list_is_told_with_the_place(tmp_path, monkeypatch, text, reason, chunk):
    monkeypatch.setattr(module, "CHUNK_CHARS", chunk)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.json .*{reason}"):
        list(json_rows(tmp_path / "a.json"))


def test_rows_before_the_broken_one_are_given(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, [2], nothing]')
    rows = json_rows(tmp_path / "a.json")
    assert (next(rows), next(rows)) == ((0, {"a": 1}), (1, [2]))
    with pytest.raises(ValueError, match="character 16"):
        next(rows)


def test_other_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        list(json_rows(tmp_path / "none.json"))
    (tmp_path / "a.json").write_bytes(b'["\xff\xfe"]')
    with pytest.raises(ValueError, match=r"a\.json is not UTF-8"):
        list(json_rows(tmp_path / "a.json"))


def test_a_row_without_an_end_is_given_up_early(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_CHARS", 16)
    monkeypatch.setattr(module, "MAX_ROW_CHARS", 1000)
    longest = "x" * 990
    (tmp_path / "a.json").write_text(json.dumps([longest, longest]))
    assert [row for _, row in json_rows(tmp_path / "a.json")] == [longest, longest]
    (tmp_path / "b.json").write_text('[1, "missing quote, ' + "x" * 10**6)
    rows = json_rows(tmp_path / "b.json")
    assert next(rows) == (0, 1)
    with pytest.raises(ValueError, match="Unterminated string starting at: character 4"):
        next(rows)


def test_a_long_file_is_read_in_little_memory_and_time_that_grows_with_its_length(tmp_path):
    row = json.dumps({"video": "didemo/a.mp4", "conversations": [{"from": "human", "value": "word " * 200}] * 2})
    path = tmp_path / "long.json"
    with path.open("w") as file:
        file.write("[" + row)
        for _ in range(20_000):
            file.write("," + row)
        file.write("]")
    assert path.stat().st_size > 40 * 2**20
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from museg.data.json_rows import json_rows\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "number = sum(1 for _ in json_rows(Path(sys.argv[1])))\n"
        "print(number, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    number, grown_kib = map(int, done.stdout.split())
    assert number == 20_001
    assert grown_kib < 12 * 1024  # of more than 40 MiB


def test_a_row_as_long_as_the_file_costs_no_more_than_a_few_readings(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_CHARS", 1000)
    asked = []
    (tmp_path / "a.json").write_text(json.dumps(["x" * 10**6]))
    decode = json.JSONDecoder.raw_decode

    def counted(self, text, at):
        asked.append(len(text))
        return decode(self, text, at)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", counted)
    assert len(list(json_rows(tmp_path / "a.json"))) == 1
    assert sum(asked) < 4 * 10**6  # each reading holds twice as much as the one before
