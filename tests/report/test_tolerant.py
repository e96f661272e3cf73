import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.report.tolerant import (
    Defects,
    clip,
    listed,
    number,
    read_csv,
    read_json,
    read_jsonl,
    read_yaml,
    text_of,
    visible,
)


@given(st.text(st.characters(codec=None)))
def test_visible_text_can_be_encoded_and_stands_in_xml(text):
    shown = visible(text)
    shown.encode("utf-8")
    assert len(shown) == len(text)
    assert not any(ord(character) < 0x20 and character not in "\n\t" for character in shown)


def test_visible_keeps_ordinary_text_of_any_script():
    assert visible("Größe 10 µm\n\tвремя 时间 🎬 <b>") == "Größe 10 µm\n\tвремя 时间 🎬 <b>"


def test_visible_disarms_a_direction_override():
    assert visible("\u202egnp.exe") == "\ufffdgnp.exe"


def test_clip_never_exceeds_its_limit():
    assert clip("segment", 7) == "segment"
    assert clip("segments", 7) == "segmen…"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300, 10**400, True, "1", None, [1]])
def test_number_refuses_what_no_axis_can_show(value):
    assert number(value) is None


def test_number_takes_ints_and_floats():
    assert number(3) == 3.0
    assert number(-0.5) == -0.5


def test_jsonl_counts_what_it_skips(tmp_path):
    lines = ['{"a": NaN, "b": 1e999, "c": 2}', '{"a": 1', "[1, 2]", "", "9" * 5000, "[" * 100_000, '{"a": "\\ud800"}']
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    defects = Defects()
    rows = list(read_jsonl(path, defects))
    assert rows == [{"a": None, "b": None, "c": 2}, {"a": "\ufffd"}]
    # Not objects: the torn line, the list, the endless number, the endless nesting. An empty line is nothing.
    assert defects.counts == {("log.jsonl", "non-finite number"): 2, ("log.jsonl", "line without a JSON object"): 4}
    assert defects.sentences() == ["log.jsonl: 2 × non-finite number", "log.jsonl: 4 × line without a JSON object"]


def test_binary_rubbish_is_no_reason_to_stop(tmp_path):
    defects = Defects()
    for name, read in (("a.json", read_json), ("a.yaml", read_yaml)):
        (tmp_path / name).write_bytes(bytes(range(256)) * 4)
        assert not read(tmp_path / name, defects)
    assert [file for file, _ in defects.counts] == ["a.json", "a.yaml"]


def test_missing_files_are_empty_and_no_defect(tmp_path):
    defects = Defects()
    assert read_json(tmp_path / "a.json", defects) is None
    assert read_yaml(tmp_path / "a.yaml", defects) == {}
    assert [*read_jsonl(tmp_path / "a.jsonl", defects), *read_csv(tmp_path / "a.csv", defects)] == []
    assert not defects.counts


def test_csv_counts_torn_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,kind,x\n1,train,0.5\n2,train\n3,train,\n", encoding="utf-8")
    defects = Defects()
    rows = list(read_csv(path, defects))
    assert [row["step"] for row in rows] == ["1", "3"]
    assert defects.counts == {("metrics.csv", "row of the wrong width"): 1}


def test_yaml_never_builds_objects(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("name: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    defects = Defects()
    assert read_yaml(path, defects) == {}
    assert defects.counts == {("config.yaml", "file without a YAML mapping"): 1}


def test_text_of_an_exploding_yaml_list_stays_short(tmp_path):
    # Nine levels of nine references to the level below: written out, 9 ** 9 = 387 million words.
    levels = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    path = tmp_path / "config.yaml"
    path.write_text("\n".join(levels) + "\nself: &self [*self]\n", encoding="utf-8")
    config = read_yaml(path, Defects())
    assert len(text_of(config["a9"])) < 1000
    assert len(text_of(config["self"])) < 100


def test_text_of_plain_values():
    assert [text_of(value) for value in (None, "a", 3, True)] == ["", "a", "3", "True"]


def test_listed():
    assert [listed(value) for value in (None, 3, {"a": 1}, [1, 2])] == [[], [3], [{"a": 1}], [1, 2]]


def test_a_surrogate_in_a_key_is_cleaned_too(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"\ud800": 1}), encoding="utf-8")
    assert read_json(path, Defects()) == {"\ufffd": 1}
