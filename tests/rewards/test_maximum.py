import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.rewards.maximum import MaximumMatchingReward
from museg.rewards.sequential import SequentialMatchingReward
from museg.temporal.segments import Segment
from tests.rewards.answers import UNREADABLE, answer
from tests.temporal.drawn_segments import segment_lists
from tests.temporal.test_pairing import brute_force

maximum, sequential = MaximumMatchingReward(), SequentialMatchingReward()
A, B, C = Segment(0, 10), Segment(20, 30), Segment(40, 50)


def test_by_hand():
    # any order of a right answer is right
    assert maximum(answer([C, A, B]), [A, B, C]) == 1.0
    # B meets B (1); A and C are missing: 11 / 2e9 each; mean over 3
    assert maximum(answer([B]), [A, B, C]) == pytest.approx((1 + 22 / 2e9) / 3, abs=1e-12)


def test_equals_the_sequential_matching_where_there_is_nothing_to_choose():
    for predictions, targets in ([[A], [B]], [[], [A, B]], [[A, B], []], [[], []]):
        assert maximum(answer(predictions), targets) == pytest.approx(
            sequential(answer(predictions), targets), abs=1e-12
        )
    assert maximum(UNREADABLE, [A]) == 0.0


def test_an_infinite_prediction_is_undefined():
    assert math.isnan(maximum(answer([A, Segment(5, math.inf)]), [A, B]))
    assert math.isnan(maximum(answer([Segment(5, math.inf)]), []))


@given(segment_lists(), segment_lists())
def test_bounded_symmetric_and_never_below_sequential(one, other):
    value = maximum(answer(one), other)
    assert 0.0 <= value <= 1.0
    assert value == pytest.approx(maximum(answer(other), one), abs=1e-12)
    assert value >= sequential(answer(one), other) - 1e-12


@given(segment_lists(), segment_lists(), st.randoms())
def test_blind_to_the_order_of_both_sides(predictions, targets, random):
    shuffled = maximum(answer(random.sample(predictions, len(predictions))), random.sample(targets, len(targets)))
    assert shuffled == pytest.approx(maximum(answer(predictions), targets), abs=1e-12)


@given(segment_lists(max_size=4), segment_lists(min_size=1, max_size=4))
def test_is_the_best_mean_over_all_assignments(predictions, targets):
    best = brute_force(predictions, targets) / max(len(predictions), len(targets))
    assert maximum(answer(predictions), targets) == pytest.approx(best, abs=1e-9)
