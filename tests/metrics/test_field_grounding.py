import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.metrics.field_grounding import FieldGroundingTable, field_scores
from museg.metrics.grounding_scores import grounding_scores
from museg.temporal.segments import Segment, iou

SEGMENT = st.tuples(st.integers(0, 30), st.integers(1, 15)).map(lambda pair: Segment(pair[0], pair[0] + pair[1]))
SEGMENTS = st.lists(SEGMENT, max_size=4)


def test_matches_are_one_to_one():
    # twice the same segment: one pair, precision 1/2, recall 1/2 (the many-to-one rule would give precision 1)
    found = field_scores([Segment(0, 10), Segment(0, 10)], [Segment(0, 10), Segment(20, 30)])
    assert (found["precision@0.7"], found["recall@0.7"], found["f1@0.7"]) == (0.5, 0.5, 0.5)
    assert found["mean_iou"] == 0.5
    assert found["count_accuracy"] == found["count_f1"] == 1.0


def test_the_assignment_is_optimal():
    # [0, 10] meets both truths at 0.3, [0, 6] only the first: taking the first for [0, 10] would leave one pair
    predicted, targets = [Segment(0, 10), Segment(0, 6)], [Segment(0, 6), Segment(6, 10)]
    assert field_scores(predicted, targets)["f1@0.3"] == 1.0


def test_first_segment_and_best_of_five():
    # against [0, 10]: first 0, then 3/10 four segments later; the sixth, exact, is not looked at
    targets = [Segment(0, 10)]
    predicted = [Segment(20 + n, 21 + n) for n in range(4)] + [Segment(0, 3), Segment(0, 10)]
    found = field_scores(predicted, targets)
    assert (found["mean_iou@1"], found["recall@1@0.3"]) == (0.0, 0.0)
    assert (found["recall@5@0.3"], found["recall@5@0.5"]) == (1.0, 0.0)
    assert (found["too_few"], found["too_many"]) == (0.0, 1.0)
    assert found["count_f1"] == pytest.approx(2 / 7)
    assert found["mAP"] == pytest.approx(1 / 6)  # the hit is the sixth of six


@pytest.mark.parametrize("shift_s", [0.0, 0.1, 0.4, 1.7, 1234.56])
def test_a_tie_is_a_hit_wherever_it_lies(shift_s):
    found = field_scores([Segment(shift_s, shift_s + 0.7)], [Segment(shift_s, shift_s + 1.0)])
    assert found["recall@1@0.7"] == found["f1@0.7"] == 1.0


def test_nothing_predicted_and_nothing_true():
    found = field_scores([], [Segment(0, 1)])
    assert {name for name, value in found.items() if value} == {"too_few"}
    assert field_scores([], [])["count_f1"] == 1.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("segment", [(5, 5), (9, 2), (0.0, float("inf")), (float("nan"), 2.0), (1.0, float("nan"))])
def test_segments_that_cover_no_time_earn_nothing(segment):
    found = field_scores([Segment(*segment)], [Segment(0, 10)])
    assert {name for name, value in found.items() if value} == {"count_accuracy", "count_f1"}


def test_at_most_as_many_as_there_are_truths_are_ranked():
    # twelve truths, twelve exact segments: all are looked at, although ten is the usual number
    segments = [Segment(10 * n, 10 * n + 5) for n in range(12)]
    assert field_scores(segments, segments)["mAP"] == 1.0
    assert field_scores([*segments[:10], Segment(500, 501)], segments[:10])["mAP"] == 1.0


@given(SEGMENTS, SEGMENTS)
def test_set_iou_is_that_of_the_held_out_scores(predicted, targets):
    assert field_scores(predicted, targets)["mean_iou"] == grounding_scores(predicted, targets)["mean_iou"]


@given(SEGMENTS, SEGMENTS)
def test_matching_by_trying_everything(predicted, targets):
    found = field_scores(predicted, targets)
    for threshold in (0.1, 0.3, 0.5, 0.7):
        hits = [[iou(a, b) >= threshold - 1e-9 for b in targets] for a in predicted]
        shorter, is_row = min((len(predicted), True), (len(targets), False))
        longer = len(targets) if is_row else len(predicted)
        most = max(
            sum(hits[k][chosen] if is_row else hits[chosen][k] for k, chosen in enumerate(order))
            for order in itertools.permutations(range(longer), shorter)
        )
        total = len(predicted) + len(targets)
        assert found[f"f1@{threshold}"] == pytest.approx(2 * most / total if total else 0.0)


def test_means_over_samples_and_thresholds():
    table = FieldGroundingTable()
    table.update(0, [Segment(0, 4)], [Segment(0, 10)])  # IoU 0.4: found at 0.1 and 0.3
    table.update(1, [], [Segment(0, 10)])
    found = table.compute()
    assert found["mean_iou"] == pytest.approx(0.2)
    assert found["mean_f1"] == found["mean_recall"] == pytest.approx(0.25)  # (1/2 + 1/2 + 0 + 0) / 4
    resampled = table.summarise({name: np.full(2, 0.5) for name in table.columns})
    assert resampled["mean_f1"].tolist() == [0.5, 0.5]


def test_a_very_long_answer():
    predicted = [Segment(n % 1000, n % 1000 + 3) for n in range(200_000)]
    targets = [Segment(4 * n, 4 * n + 3) for n in range(218)]
    start_s = time.perf_counter()
    found = field_scores(predicted, targets)
    assert found["recall@0.7"] == 1.0
    assert found["precision@0.7"] == pytest.approx(218 / 200_000)
    assert time.perf_counter() - start_s < 20
