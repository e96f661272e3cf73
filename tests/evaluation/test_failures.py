import pytest

from museg.evaluation.failures import analyse, asks_for_all, boundary_errors, count_kind
from museg.evaluation.samples import BenchmarkSample, Reading
from museg.temporal.segments import Segment


def sample(*targets, task="tal", duration_s=100.0) -> BenchmarkSample:
    segments = tuple(Segment(*target) for target in targets)
    return BenchmarkSample("0", 0, task, "made_up", "clip.mp4", "When?", segments, duration_s)


def reading(*segments, failure=None) -> Reading:
    return Reading(tuple(Segment(*s) for s in segments), failure)


def test_counts_and_kinds():
    samples = [sample((0, 10)), sample((0, 10), (20, 30)), sample((0, 10)), sample((0, 10))]
    readings = [reading((0, 10)), reading((0, 10)), reading((0, 5), (6, 7)), reading(failure="empty")]
    found = analyse(samples, readings)
    assert found["counts"] == {"exact": 1, "too_few": 2, "too_many": 1}
    assert found["kinds"] == {"empty": 1}


def test_boundary_errors_of_overlapping_pairs_only():
    # the best pairing takes 21-33 with 20-30 (errors 1 and 3) and 2-9 with 0-10 (2 and 1); 50-60 meets nothing
    errors = boundary_errors([Segment(21, 33), Segment(2, 9), Segment(50, 60)], [Segment(0, 10), Segment(20, 30)])
    assert sorted(errors) == [(1, 3), (2, 1)]
    assert boundary_errors([Segment(50, 60)], [Segment(0, 10)]) == []


def test_spread_and_histogram_of_boundary_errors():
    found = analyse([sample((0, 10)), sample((20, 30))], [reading((0, 10)), reading((17, 31))])["boundary_error_s"]
    # start errors 0 and 3, end errors 0 and 1
    assert (found["num_pairs"], found["start"]["mean"], found["end"]["mean"]) == (2, 1.5, 0.5)
    assert found["start"]["median"] == 1.5
    assert found["start"]["p90"] == pytest.approx(2.7)  # nine tenths of the way from 0 to 3
    histogram = dict(zip(found["histogram"]["edges_s"], found["histogram"]["counts"], strict=True))
    assert {edge: num for edge, num in histogram.items() if num} == {0.0: 2, 1.0: 1, 2.0: 1}


def test_nothing_to_pair_is_told():
    found = analyse([sample((0, 10))], [reading(failure="empty")])["boundary_error_s"]
    assert found == {"num_pairs": 0, "start": None, "end": None, "histogram": None}


def test_iou_by_length_number_and_position():
    # 0-1: IoU 1 with the answer; 50-70 and 90-100: the best IoUs are 10/20 and 0
    samples, readings = [sample((0, 1)), sample((50, 70), (90, 100))], [reading((0, 1)), reading((50, 60))]
    found = analyse(samples, readings)["iou_by"]
    lengths = {entry["label"]: (entry["num"], entry["mean_iou"]) for entry in found["segment_length_s"] if entry["num"]}
    assert lengths == {"0-2 s": (1, 1.0), "10-30 s": (2, 0.25)}
    # the set IoU of the second sample: 10 shared of 30 covered seconds
    numbers = {entry["label"]: entry["mean_iou"] for entry in found["num_segments"] if entry["num"]}
    assert numbers == {"1": 1.0, "2": pytest.approx(1 / 3)}
    assert [entry["label"] for entry in found["num_segments"]] == ["1", "2", "3-4", "5-8", "9-16", "17+"]
    # middles at 0.5 %, 60 % and 95 % of the clip
    places = {entry["label"]: (entry["num"], entry["mean_iou"]) for entry in found["position"]}
    assert places == {
        "0-20 %": (1, 1.0),
        "20-40 %": (0, None),
        "40-60 %": (0, None),
        "60-80 %": (1, 0.5),
        "80-100 %": (1, 0.0),
    }


def test_a_clip_of_unknown_length_has_no_positions():
    found = analyse([sample((0, 10), duration_s=None)], [reading((0, 10))])["iou_by"]
    assert not any(entry["num"] for entry in found["position"])
    assert sum(entry["num"] for entry in found["segment_length_s"]) == 1


def test_questions_with_many_right_answers_are_not_counted():
    assert [asks_for_all(sample((0, 1), task=task)) for task in ("tal", "tem", "vhd")] == [True, False, False]
    assert not asks_for_all(sample(task="rar"))
    assert count_kind([], [Segment(0, 1)]) == "too_few"


def test_an_answer_of_a_million_segments_is_analysed():
    long = tuple(Segment(float(i), i + 0.5) for i in range(1_000_000))
    found = analyse([sample((0, 10), (20, 30))], [Reading(long)])
    assert found["counts"] == {"too_many": 1}
    # the best IoU of any half second with a true segment of 10 s
    assert found["iou_by"]["segment_length_s"][3]["mean_iou"] == pytest.approx(0.05)
