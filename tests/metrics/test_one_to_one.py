from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.metrics.one_to_one import num_pairs, one_to_one_f1
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
