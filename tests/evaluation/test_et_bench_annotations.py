import json

import pytest

from museg.evaluation.et_bench_annotations import TASKS, read_et_bench, read_et_bench_subset
from museg.temporal.segments import Segment
from tests.evaluation.annotation_files import ET_BENCH, changed, list_file, without

EXPECTED = {
    "rar": (),
    "eca": (),
    "rvq": (),
    "tvg": (Segment(3.0, 9.5),),
    "epm": (Segment(0.0, 2.0),),
    "tal": (Segment(1.0, 2.0), Segment(5.0, 8.0)),
    "evs": (Segment(1.0, 2.0),),
    "vhd": (Segment(1.0, 2.0), Segment(4.0, 6.0), Segment(3.0, 5.0)),  # of all annotators
    "dvc": (Segment(1.0, 2.0), Segment(5.0, 8.0)),
    "slc": (Segment(1.0, 2.0),),
    "tem": (Segment(1.0, 2.0), Segment(5.0, 8.0)),
    "gvq": (Segment(1.0, 5.0),),
}


def test_all_twelve_tasks(tmp_path):
    samples = read_et_bench(list_file(tmp_path, *ET_BENCH.values()))
    assert set(TASKS) == set(EXPECTED) and len(samples) == 12
    for row, sample in enumerate(samples):
        annotation = ET_BENCH[sample.task]
        assert sample.sample_id == f"{sample.task}/{annotation['source']}/0" and sample.row == row
        assert sample.targets == EXPECTED[sample.task]
        assert (sample.video, sample.question, sample.duration_s) == (annotation["video"], "Which one?", 60.0)
        assert sample.annotation == annotation


def test_highlights_of_one_annotator(tmp_path):
    (sample,) = read_et_bench(list_file(tmp_path, changed(ET_BENCH["vhd"], tgt=[[1, 2], [4, 6]])))
    assert sample.targets == (Segment(1.0, 2.0), Segment(4.0, 6.0))


def test_idx_may_repeat_in_another_task_or_source(tmp_path):
    rows = [ET_BENCH["tvg"], changed(ET_BENCH["tvg"], source="charades_sta"), ET_BENCH["epm"]]
    assert len(read_et_bench(list_file(tmp_path, *rows))) == 3


@pytest.mark.parametrize(
    ("task", "fields", "rule"),
    [
        ("tvg", {"idx": 0}, r"repeat those of row 0"),
        ("tvg", {"idx": "1"}, "idx must be a whole number"),
        ("tvg", {"task": "vgt"}, "task must be one of rar, .* not 'vgt'"),
        ("tvg", {"task": ["tvg"]}, "task must be one of"),
        ("tvg", {"source": " "}, "source must be a text"),
        ("tvg", {"video": "/etc/passwd"}, "below the video root"),
        ("tvg", {"q": None}, "q must be a text"),
        ("tvg", {"tgt": [[1, 2]]}, r"tgt must be one \[start, end\]"),
        ("tvg", {"tgt": [1, float("nan")]}, "finite seconds"),
        ("tvg", {"tgt": [1]}, "tgt must be one"),
        ("gvq", {"tgt": []}, "tgt must be one"),
        ("tal", {"tgt": [1, 2]}, "pairs only"),
        ("tal", {"tgt": []}, "at least one"),
        ("tal", {"duration": float("inf")}, "duration must hold finite"),
        ("vhd", {"tgt": []}, "or of such lists"),
        ("vhd", {"tgt": [[[1, 2]], []]}, "at least one"),
        ("dvc", {"g": ["one"]}, "list of 2 captions"),
        ("dvc", {"g": ["one", 2]}, "g must hold texts"),
        ("rar", {"p": 4}, "index of one of the 4 options"),
        ("rar", {"p": -1}, "p must be a whole number"),
        ("rar", {"o": ["a", "b"]}, "4 or 5 options"),
        ("eca", {"o": [[0, 1], [0, float("nan")], [1, 2], [2, 3]]}, "4 or 5 options"),
    ],
)
def test_bad_row_is_named(tmp_path, task, fields, rule):
    row = changed(ET_BENCH[task], **{"idx": 1, **fields})
    with pytest.raises(ValueError, match=rf"rows\.json: 1 row\(s\)[\s\S]*row 1 \(from 0\): .*{rule}"):
        read_et_bench(list_file(tmp_path, ET_BENCH[task], row))


@pytest.mark.parametrize(
    ("task", "key"),
    [("rar", "o"), ("rar", "p"), ("tvg", "tgt"), ("tal", "tgt"), ("vhd", "tgt"), ("dvc", "g"), ("epm", "q")],
)
def test_what_a_task_needs_must_be_there(tmp_path, task, key):
    with pytest.raises(ValueError, match=rf"row 0 \(from 0\): lacks {key}"):
        read_et_bench(list_file(tmp_path, without(ET_BENCH[task], key)))


def subset_of(folder, content):
    path = folder / "subset.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_subset_keeps_order_and_rows_of_the_file(tmp_path):
    rows = [changed(ET_BENCH["tvg"], idx=idx) for idx in range(5)] + [ET_BENCH["tal"]]
    subset = subset_of(tmp_path, {"tal": {"thumos14": [0]}, "tvg": {"qvhighlights": [3, 1]}})
    samples, others = read_et_bench_subset(list_file(tmp_path, *rows), subset)
    assert [sample.sample_id for sample in samples] == ["tvg/qvhighlights/1", "tvg/qvhighlights/3", "tal/thumos14/0"]
    assert [sample.row for sample in samples] == [1, 3, 5]
    assert [(sample.sample_id[-1], sample.row) for sample in others] == [("0", 0), ("2", 2), ("4", 4)]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ([], "must hold a JSON object"),
        ({"vgt": {}}, "task 'vgt': task must be one of"),
        ({"tvg": []}, "is not a JSON object but list"),
        ({"tvg": {"qvhighlights": 0}}, "must hold a list of idx"),
        ({"tvg": {"qvhighlights": [0, 0]}}, "lists an idx twice"),
        ({"tvg": {"qvhighlights": ["0"]}}, "whole number"),
        ({"tvg": {"qvhighlights": [0, 1]}}, "names 1 sample.* does not hold: tvg/qvhighlights/1"),
    ],
)
def test_bad_subset_is_named(tmp_path, content, rule):
    with pytest.raises(ValueError, match=rf"subset\.json[\s\S]*{rule}"):
        read_et_bench_subset(list_file(tmp_path, ET_BENCH["tvg"]), subset_of(tmp_path, content))
