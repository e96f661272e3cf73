import json

import pytest

from museg.report.evaluation_folder import read_evaluation
from museg.temporal.segments import Segment
from tests.report.invented_evaluation import write_lines

ROW = {
    "id": "tvg/charades_sta/0",
    "row": 0,
    "task": "tvg",
    "source": "charades_sta",
    "video": "charades/AAA.mp4",
    "question": "a door opens",
    "targets": [[1.0, 4.0]],
    "duration_s": 30.5,
    "answer": "1 - 3",
    "segments": [[1.0, 3.0]],
    "num_segments": 1,
    "failure": None,
    "iou": 0.5,
    "values": {"official": {"hit": 1.0, "iou": "inf", "other": None}},
}


def only_sample(folder, **changes):
    write_lines(folder / "samples.jsonl", [ROW | changes])
    record = read_evaluation(folder)
    return record.samples[0], record.defects


def test_a_sample(tmp_path):
    sample, defects = only_sample(tmp_path)
    assert sample.targets == (Segment(1.0, 4.0),)
    assert sample.segments == (Segment(1.0, 3.0),)
    assert (sample.failure, sample.iou, sample.duration_s, sample.num_segments) == ("", 0.5, 30.5, 1)
    assert sample.values == {"official": {"hit": 1.0, "iou": None, "other": None}}
    assert defects.sentences() == []


def test_where_an_answer_is_no_time_the_first_official_number_counts(tmp_path):
    assert only_sample(tmp_path, iou=None)[0].score == 1.0
    assert only_sample(tmp_path)[0].score == 0.5
    assert only_sample(tmp_path, iou=None, values={})[0].score is None


def test_a_long_answer_keeps_its_number_of_segments(tmp_path):
    sample, defects = only_sample(tmp_path, segments=[[0, 1]] * 900, num_segments=1_000_000)
    assert (len(sample.segments), sample.num_segments) == (200, 1_000_000)
    assert defects.sentences() == ["samples.jsonl: 1 × answer of more than 200 segments (the first ones are used)"]


@pytest.mark.parametrize("key", list(ROW))
@pytest.mark.parametrize("value", [None, 7, "x", [[1]], {"a": {"b": []}}, "\ud800\x00", 1e300])
def test_any_value_in_any_place_is_read(tmp_path, key, value):
    (tmp_path / "samples.jsonl").write_text(json.dumps(ROW | {key: value}), encoding="utf-8")
    assert len(read_evaluation(tmp_path).samples) == 1
