import pytest

from museg.data.annotation_files import AnnotationFile, RowLimits
from museg.data.instruction_readers import read_et_instruct
from tests.data.instruction_files import conversation, et_row, saying, written

LIMITS = RowLimits(min_duration_s=5, max_duration_s=350, max_words=3)


def test_rows_count_by_length_and_words(tmp_path):
    rows = [
        et_row(duration=4.9, conversations=saying("a")),
        et_row(duration=5, conversations=saying("a b c")),
        et_row(duration=350, conversations=saying("a b c d")),
        et_row(duration=350.1, conversations=saying("a")),
        et_row(duration=None, conversations=saying("a")),
        et_row(conversations=saying("a b<ent> c d<ent>"), task="tal", tgt=[1, 2, 3, 4]),
        et_row(task="rar"),
    ]
    report = LIMITS.applied_to(read_et_instruct(written(tmp_path / "et.json", *rows)))
    assert [example.example_id for example in report.examples] == ["et:1", "et:4"]
    assert dict(report.left_out) == {
        "below_min_duration": 1,
        "above_max_duration": 1,
        "above_max_words": 2,
        "task_without_events": 1,
    }


def test_faults_are_those_of_the_rows_that_count(tmp_path):
    short = saying("a")
    rows = (et_row(tgt=[9, 5], duration=length_s, conversations=short) for length_s in (400, 30))
    path = written(tmp_path / "et.json", *rows)
    assert dict(LIMITS.applied_to(read_et_instruct(path)).kept_faults) == {"reversed_segment": 1}


def test_without_limits_all_rows_count(tmp_path):
    report = read_et_instruct(written(tmp_path / "et.json", et_row(duration=0.1), et_row(duration=10**6)))
    assert RowLimits().applied_to(report) == report


def test_a_file_is_read_as_its_format_says(tmp_path):
    written(tmp_path / "a" / "talks.json", conversation(image="1.jpg"), conversation(video="2.mp4"))
    written(tmp_path / "a" / "et.json", et_row())
    talks = AnnotationFile(file="a/talks.json", format="conversations", images="i", videos="v").read(tmp_path)
    assert [example.video for example in talks.examples] == ["i/1.jpg", "v/2.mp4"]
    events = AnnotationFile(file="a/et.json", format="et_instruct", videos="v").read(tmp_path)
    assert [example.video for example in events.examples] == ["v/didemo/a.mp4"]
    assert AnnotationFile(file="a/et.json", format="et_instruct", min_duration_s=40).read(tmp_path).examples == ()


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="format of a must be one of conversations, et_instruct, not 'csv'"):
        AnnotationFile(file="a", format="csv")
    with pytest.raises(ValueError, match="at least 5 s and at most 4 s"):
        RowLimits(min_duration_s=5, max_duration_s=4)
