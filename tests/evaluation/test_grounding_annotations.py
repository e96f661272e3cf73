import json

import pytest

from museg.evaluation.grounding_annotations import (
    read_activitynet_captions,
    read_museg_rows,
    read_released_grounding,
)
from museg.temporal.segments import Segment
from tests.evaluation.annotation_files import CAPTIONS, GROUNDING, MUSEG_ROW, changed, lines_file, list_file, without

QUESTION = "When does '{query}' happen?"


def test_released_rows_have_no_ids_but_their_place(tmp_path):
    first, second = read_released_grounding(list_file(tmp_path, GROUNDING, changed(GROUNDING, video="x.mp4")), "tvg")
    assert (first.sample_id, first.row, first.task, first.source) == ("0", 0, "tvg", "charades")
    assert (first.video, first.question) == (GROUNDING["video"], GROUNDING["question"])
    assert first.targets == (Segment(24.3, 30.4),) and first.duration_s is None
    assert (second.sample_id, second.row, second.source) == ("1", 1, "unknown")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ([1], "is not a JSON object but list"),
        (without(GROUNDING, "groundtruth"), "lacks groundtruth"),
        (changed(GROUNDING, groundtruth=[]), "at least one"),
        (changed(GROUNDING, groundtruth=[1, 2]), "pairs only"),
        (changed(GROUNDING, groundtruth=[[1, float("nan")]]), "finite seconds"),
        (changed(GROUNDING, groundtruth=[[1, float("inf")]]), "finite seconds"),
        (changed(GROUNDING, groundtruth=[["1", 2]]), "must hold seconds"),
        (changed(GROUNDING, question=""), "question must be a text"),
        (changed(GROUNDING, question=None), "question must be a text"),
        (changed(GROUNDING, video="../../etc/passwd"), "below the video root"),
    ],
)
def test_bad_released_row_is_named(tmp_path, row, rule):
    with pytest.raises(ValueError, match=rf"rows\.json: 1 row\(s\)[\s\S]*row 1 \(from 0\): .*{rule}"):
        read_released_grounding(list_file(tmp_path, GROUNDING, row), "tvg")


def test_all_bad_rows_are_told_at_once(tmp_path):
    with pytest.raises(ValueError, match=r"2 row\(s\)[\s\S]*row 0 [\s\S]*row 2 "):
        read_released_grounding(list_file(tmp_path, {}, GROUNDING, 5), "tvg")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b'{"video": 1}', "must hold a JSON list"),
        (b"[{]", "is not JSON"),
        (b"[\n\n\xff]", r"is not UTF-8 \(byte 4, line 3\)"),
        (b'[{"video": "a.mp4", "video": "b.mp4"}]', "'video' twice"),
        (b"[" * 100_000, "is not JSON"),
        (b"", "is not JSON"),
    ],
)
def test_file_that_is_no_list_is_named(tmp_path, content, rule):
    path = tmp_path / "rows.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"rows\.json .*{rule}"):
        read_released_grounding(path, "tvg")


def test_rows_of_the_training_schema_keep_their_idx(tmp_path):
    one, two = read_museg_rows(lines_file(tmp_path, MUSEG_ROW, changed(MUSEG_ROW, idx="b", task="tvg", duration=9)))
    assert (one.sample_id, one.row, one.task, one.duration_s) == ("7", 0, "tal", None)
    assert one.targets == (Segment(1.0, 2.5), Segment(4.0, 5.0))
    assert (two.sample_id, two.row, two.task, two.duration_s) == ("b", 1, "tvg", 9.0)


def test_every_sentence_is_a_sample(tmp_path):
    path = tmp_path / "val_2.json"
    path.write_text(json.dumps(CAPTIONS), encoding="utf-8")
    samples = read_activitynet_captions(path, QUESTION)
    assert [(sample.sample_id, sample.row) for sample in samples] == [("v_one:0", 0), ("v_one:1", 1), ("v_two:0", 2)]
    second = samples[1]
    assert second.question == "When does 'She claps.' happen?"
    assert second.targets == (Segment(17.37, 60.81),)
    assert (second.video, second.duration_s, second.task) == ("v_one.mp4", 82.73, "tvg")
    assert second.source == "activitynet_captions"


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        ([], "is not a JSON object"),
        (without(CAPTIONS["v_two"], "duration"), "lacks duration"),
        (changed(CAPTIONS["v_two"], sentences=["a", "b"]), "must be a list of 1"),
        (changed(CAPTIONS["v_two"], sentences=[" "]), "sentence 0 must be a text"),
        (changed(CAPTIONS["v_two"], timestamps=[]), "at least one"),
        (changed(CAPTIONS["v_two"], timestamps=[[0, float("nan")]]), "finite seconds"),
        (changed(CAPTIONS["v_two"], duration="30"), "duration must hold seconds"),
    ],
)
def test_bad_video_is_named(tmp_path, entry, rule):
    path = tmp_path / "val_2.json"
    path.write_text(json.dumps({**CAPTIONS, "v_bad": entry}), encoding="utf-8")
    with pytest.raises(ValueError, match=rf"1 row\(s\)[\s\S]*video 'v_bad': .*{rule}"):
        read_activitynet_captions(path, QUESTION)


def test_captions_with_a_video_twice_or_of_another_shape_are_refused(tmp_path):
    path = tmp_path / "val_2.json"
    path.write_text('{"v_one": {}, "v_one": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match="'v_one' twice"):
        read_activitynet_captions(path, QUESTION)
    path.write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        read_activitynet_captions(path, QUESTION)
    path.write_text(json.dumps({"../v": CAPTIONS["v_two"]}), encoding="utf-8")
    with pytest.raises(ValueError, match="below the video root"):
        read_activitynet_captions(path, QUESTION)
