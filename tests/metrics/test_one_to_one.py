from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from museg.metrics.one_to_one import num_pairs, one_to_one_f1
from museg.metrics.overlaps import iou_table
from museg.temporal.segments import Segment, iou

WHOLE = st.builds(lambda start, length: Segment(start, start + length), st.integers(0, 8), st.integers(1, 6))


def most_pairs(predicted: list[Segment], targets: list[Segment], threshold: float) -> int:
    """The largest number of hits over all assignments, tried one by one."""
    few, many = sorted([predicted, targets], key=len)
    return max(
        sum(iou(a, b) >= threshold - 1e-9 for a, b in zip(few, chosen, strict=True))
        for chosen in permutations(many, len(few))
    )


@given(st.lists(WHOLE, max_size=4), st.lists(WHOLE, max_size=5))
def test_no_assignment_makes_more_pairs(predicted, targets):
    thresholds = (0.1, 0.3, 0.5, 0.7)
    assert num_pairs(predicted, targets, thresholds) == [most_pairs(predicted, targets, t) for t in thresholds]


ANY_TIME = st.sampled_from([0.0, 0.1, 2.5, 7.0, 10.0, 1e300, float("inf"), float("nan")])


@given(
    st.lists(WHOLE | st.builds(Segment, ANY_TIME, ANY_TIME), max_size=40),
    st.lists(WHOLE | st.builds(Segment, ANY_TIME, ANY_TIME), max_size=40),
)
def test_few_segments_and_many_are_paired_by_the_same_ious(predicted, targets):
    thresholds = (0.1, 0.7)
    table = iou_table(predicted, targets, np.float64)
    graphs = [csr_matrix(table >= threshold - 1e-9) for threshold in thresholds]
    expected = [int((maximum_bipartite_matching(graph) >= 0).sum()) if table.size else 0 for graph in graphs]
    assert num_pairs(predicted, targets, thresholds) == expected


def test_partners_are_handed_on():
    # every truth meets the prediction at its own place and the next one; the last truth meets the first one only, so
    # that all others have to move on: a path through 200 truths (400 hits are looked for in a sparse graph)
    for num in (2, 100, 200):
        truths = [Segment(2 * k, 2 * k + 3) for k in range(1, num)] + [Segment(1, 3)]
        predicted = [Segment(2 * k, 2 * k + 2) for k in range(1, num + 1)]
        assert num_pairs(predicted, truths, [0.2]) == [num]


def test_repeating_a_segment_earns_nothing():
    target = [Segment(0, 10)]
    # one pair of four segments: 2 * 1 / (3 + 1)
    assert one_to_one_f1([Segment(0, 10)] * 3, target, [0.5]) == [0.5]
    assert one_to_one_f1([Segment(0, 10)], target, [0.5]) == [1.0]


def test_exact_ties_hit():
    # 7 of 10 seconds, also where subtracting in float64 leaves a little less
    assert one_to_one_f1([Segment(0, 7)], [Segment(0, 10)], [0.7]) == [1.0]
    assert one_to_one_f1([Segment(1000.1, 1007.1)], [Segment(1000.1, 1010.1)], [0.7]) == [1.0]
    assert one_to_one_f1([Segment(0, 6.99)], [Segment(0, 10)], [0.7]) == [0.0]


@pytest.mark.parametrize(("predicted", "targets"), [([], []), ([], [Segment(0, 1)]), ([Segment(0, 1)], [])])
def test_nothing_meets_nothing(predicted, targets):
    assert one_to_one_f1(predicted, targets, [0.1]) == [0.0]


def test_a_long_answer_keeps_few_candidates():
    targets = [Segment(10 * k, 10 * k + 10) for k in range(3)]
    # 100,000 copies of each of two truths: 2 pairs, 2 * 2 / (200,000 + 3)
    assert one_to_one_f1(targets[:2] * 100_000, targets, [0.5]) == [pytest.approx(4 / 200_003)]
