import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.data.readers import read_museg_jsonl
from museg.temporal.segments import Segment

GOOD = {
    "idx": 0,
    "problem": "When does 'a dog' bark?",
    "solution": [[1, 2.5]],
    "video": "videos/hacs/a.mp4",
    "duration": 30.0,
    "task": "tvg",
}


def written(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def changed(**fields) -> dict:
    return {**GOOD, **fields}


def without(key: str) -> dict:
    return {name: value for name, value in GOOD.items() if name != key}


def test_row_becomes_an_example(tmp_path):
    (example,) = read_museg_jsonl(written(tmp_path, GOOD)).examples
    assert example.example_id == "rows:0"
    assert example.video == "videos/hacs/a.mp4"
    assert example.query == "When does 'a dog' bark?"
    assert example.targets == (Segment(1.0, 2.5),)
    assert isinstance(example.targets[0].start_s, float)
    assert (example.duration_s, example.task, example.source) == (30.0, "tvg", "hacs")


def test_duration_may_be_absent_or_null(tmp_path):
    report = read_museg_jsonl(written(tmp_path, without("duration"), changed(idx=1, duration=None)))
    assert [example.duration_s for example in report.examples] == [None, None]


def test_blank_lines_byte_order_mark_and_windows_line_ends_are_no_matter(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(changed(idx=1)).encode())
    assert [example.example_id for example in read_museg_jsonl(path).examples] == ["rows:0", "rows:1"]


def test_captions_are_read_where_there_are_some(tmp_path):
    two = {"task": "tal", "solution": [[1, 2], [4, 8]]}
    rows = (
        changed(captions=["A dog barks."]),
        changed(idx=1, captions=None),
        changed(idx=2, **two, captions=["a", "<tst>b"]),
    )
    report = read_museg_jsonl(written(tmp_path, *rows))
    assert [example.captions for example in report.examples] == [("A dog barks.",), (), ("a", "< tst>b")]
    assert {(example.response, example.media) for example in report.examples} == {(None, "video")}


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (changed(solution=[[3, 3]]), "zero_length_segment"),
        (changed(solution=[[38.0, 13.0]], duration=50), "reversed_segment"),
        (changed(solution=[[1, 31]]), "ends_past_duration"),
        (changed(task="tal", solution=[[1, 5], [4, 8]]), "overlapping_segments"),
        (changed(task="tal", solution=[[1, 9], [2, 3]]), "overlapping_segments"),
        (changed(task="tal", solution=[[4, 8], [1, 2]]), "unsorted_segments"),
        (changed(solution=[[1, 2], [4, 8]]), "tvg_with_several_segments"),
    ],
)
def test_faults_are_kept_and_named(tmp_path, row, fault):
    report = read_museg_jsonl(written(tmp_path, GOOD | {"idx": 7}, row))
    assert dict(report.kept_faults) == {fault: 1}
    assert [list(segment) for segment in report.examples[1].targets] == row["solution"]


def test_touching_segments_do_not_overlap(tmp_path):
    report = read_museg_jsonl(written(tmp_path, changed(task="tal", solution=[[1, 4], [4, 8]])))
    assert dict(report.kept_faults) == {}


BAD = [
    (b"{not json", "is not JSON"),
    (b"\xff\xfe{}", "is not UTF-8"),
    (b"[1, 2]", "is not a JSON object"),
    (without("video"), "lacks video"),
    ({"idx": 1}, "lacks problem, solution, video, task"),
    (changed(idx=1.5), "idx must be"),
    (changed(idx=True), "idx must be"),
    (changed(task="vhd"), "task must be one of tvg, tal"),
    (changed(problem=" "), "problem must be a text"),
    (changed(video=5), "video must be a path"),
    (changed(video="/etc/passwd"), "below the video root"),
    (changed(video="videos/../../x.mp4"), "below the video root"),
    (changed(video="a\0b"), "below the video root"),
    (changed(solution=[]), "at least one"),
    (changed(solution=[1, 2]), "pairs only"),
    (changed(solution=[[1, 2, 3]]), "pairs only"),
    (changed(solution=[["1", "2"]]), "must hold seconds"),
    (changed(solution=[[True, 2]]), "must hold seconds"),
    (changed(solution=[[-1, 2]]), "finite seconds from 0"),
    (changed(solution=[[0, float("nan")]]), "finite seconds from 0"),
    (changed(solution=[[0, 10**400]]), "finite seconds from 0"),
    (changed(duration="30"), "duration must hold seconds"),
    (changed(captions="a"), "captions must be a list with a text for each segment"),
    (changed(captions=["a", "b"]), "captions must be a list with a text for each segment"),
    (changed(captions=[" "]), "captions must be a text"),
    (b"[" * 100_000, "is not JSON"),
]


@pytest.mark.parametrize(("row", "rule"), BAD)
def test_unusable_row_is_reported_with_its_line_and_rule(tmp_path, row, rule):
    with pytest.raises(ValueError, match=rf"rows\.jsonl: 1 row\(s\)[\s\S]*line 2: .*{rule}"):
        read_museg_jsonl(written(tmp_path, changed(idx=99), row))


def test_all_unusable_rows_are_reported_at_once(tmp_path):
    with pytest.raises(ValueError) as raised:
        read_museg_jsonl(written(tmp_path, *(row for row, _ in BAD[:5]), GOOD, changed(task="x")))
    message = str(raised.value)
    assert "6 row(s)" in message
    assert all(f"line {line}: " in message for line in (1, 2, 3, 4, 5, 7))


def test_long_lists_of_errors_are_cut(tmp_path):
    with pytest.raises(ValueError) as raised:
        read_museg_jsonl(written(tmp_path, *[b"{"] * 500))
    assert "and 480 more" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 22


def test_repeated_idx_is_refused(tmp_path):
    with pytest.raises(ValueError, match="line 2: idx repeats that of line 1"):
        read_museg_jsonl(written(tmp_path, GOOD, GOOD))


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="does not exist"):
        read_museg_jsonl(tmp_path / "none.jsonl")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), json_values))
def test_any_json_row_is_read_or_reported(tmp_path_factory, fields):
    path = written(tmp_path_factory.mktemp("any"), GOOD | fields)
    try:
        assert len(read_museg_jsonl(path).examples) == 1
    except ValueError as error:
        assert "line 1: " in str(error)
