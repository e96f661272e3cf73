import math
import random
import tracemalloc

import numpy as np
import pytest
from hypothesis import given

from museg.metrics.overlaps import best_overlaps, detection_f1, iou_table
from museg.temporal.segments import Segment, iou
from tests.temporal.drawn_segments import segment_lists

TEN = [Segment(0, 10)]


def drawn(count: int, seed: int) -> list[Segment]:
    draw = random.Random(seed)
    starts = [draw.uniform(0, 500) for _ in range(count)]
    return [Segment(start_s, start_s + draw.uniform(0, 60)) for start_s in starts]


@given(segment_lists(), segment_lists())
def test_the_table_holds_the_iou_of_every_pair(predicted, targets):
    table = iou_table(predicted, targets, np.float64)
    assert table.shape == (len(predicted), len(targets))
    expected = [[iou(a, b) for b in targets] for a in predicted]
    assert np.allclose(table, np.reshape(expected, table.shape), atol=1e-9, equal_nan=True)


def test_float32_is_below_the_threshold_it_ties_with():
    # 7/10 in float32 is 0.69999999; 5/10 is exact; 3/10 in float32 is 0.30000001
    assert float(iou_table([Segment(0, 7)], TEN)[0, 0]) < 0.7
    assert float(iou_table([Segment(0, 5)], TEN)[0, 0]) == 0.5
    assert float(iou_table([Segment(0, 3)], TEN)[0, 0]) > 0.3
    assert iou_table([Segment(0, 7)], TEN, np.float64)[0, 0] == 0.7


def test_what_is_undefined_is_not_a_number():
    assert math.isnan(iou_table([Segment(5, 5)], [Segment(5, 5)])[0, 0])
    assert math.isnan(iou_table([Segment(math.inf, math.inf)], TEN)[0, 0])
    assert iou_table([Segment(0, 1e300)], TEN)[0, 0] == 0.0  # infinite in float32: 10 / infinity


def test_detection_f1():
    targets = [Segment(0, 10), Segment(20, 30), Segment(40, 50)]
    # two of three truths are met; three of four predictions meet one: 2 (2/3) (3/4) / (2/3 + 3/4) = 12/17
    overlaps = best_overlaps([Segment(0, 10), Segment(0, 9), Segment(20, 30), Segment(90, 99)], targets)
    assert detection_f1(overlaps, 0.5) == pytest.approx(12 / 17, abs=1e-7)
    assert detection_f1(best_overlaps([Segment(60, 70)], targets), 0.1) == 0.0
    assert detection_f1(best_overlaps([Segment(0, 7)], TEN), 0.7) == 1.0  # compared in float32


def test_an_undefined_overlap_hides_a_miss():
    point = [Segment(5, 5)]
    assert math.isnan(detection_f1(best_overlaps(point, point), 0.5))
    # with another truth that is met, only the undefined pair is a miss: recall 1/2, precision 1/2
    both = [Segment(5, 5), Segment(0, 4)]
    assert detection_f1(best_overlaps(both, both), 0.5) == 0.5


def test_long_answers_are_compared_a_piece_at_a_time():
    predicted, targets = drawn(30_000, seed=0), drawn(218, seed=1)
    whole = iou_table(predicted, targets)  # 26 MB
    tracemalloc.start()
    overlaps = best_overlaps(predicted, targets)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(overlaps.per_target, whole.max(axis=0))
    assert np.array_equal(overlaps.per_predicted, whole.max(axis=1))
    assert peak < 25e6  # a few tables of a million cells, however long the answer is
