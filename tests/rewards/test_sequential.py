import math

import pytest
from hypothesis import given

from museg.rewards.sequential import SequentialMatchingReward
from museg.temporal.segments import Segment
from tests.rewards.answers import UNREADABLE, answer
from tests.temporal.drawn_segments import disjoint_lists, segment_lists

sequential = SequentialMatchingReward()
sorted_sequential = SequentialMatchingReward(sort_by_start=True)
A, B = Segment(0, 10), Segment(20, 30)


def test_by_hand():
    # first pair: shared 5, union 15, hull 15 -> 2/3; second pair equal -> 1
    assert sequential(answer([Segment(5, 15), B]), [A, B]) == pytest.approx((2 / 3 + 1) / 2)


def test_order_matters_unless_sorted():
    # 0-10 against 20-30: shared 0, union 20, hull 30: (1 - 1/3) / 2 = 1/3, twice
    assert sequential(answer([B, A]), [A, B]) == pytest.approx(1 / 3)
    assert sorted_sequential(answer([B, A]), [A, B]) == 1.0
    assert sorted_sequential(answer([A, B]), [B, A]) == 1.0


def test_missing_and_extra_segments_dilute_the_mean():
    # a padded pair of length 10 adds (10 + 1) / 2e9 on its own
    assert sequential(answer([A]), [A, B]) == pytest.approx((1 + 11 / 2e9) / 2, abs=1e-12)
    assert sequential(answer([A, B]), [A]) == pytest.approx((1 + 11 / 2e9) / 2, abs=1e-12)
    assert 0 < sequential(answer([]), [A]) < 1e-8


def test_degenerate_sides():
    assert sequential(UNREADABLE, [A]) == 0.0
    assert sequential(answer([]), []) == 0.0
    # reversed truth: shared 0, union 25 - 25 - ... -> below 0 as in the release
    # 0-10 against 38-13: union 10 - 25 = -15, hull 13 - 0 = 13: (1 - 28/13) / 2
    assert sequential(answer([A]), [Segment(38, 13)]) == pytest.approx((1 - 28 / 13) / 2)


def test_an_infinite_prediction_is_undefined():
    assert math.isnan(sequential(answer([A, Segment(5, math.inf)]), [A, B]))


@given(segment_lists(), segment_lists())
def test_bounded_and_symmetric(one, other):
    for reward in (sequential, sorted_sequential):
        value = reward(answer(one), other)
        assert 0.0 <= value <= 1.0
        assert value == pytest.approx(reward(answer(other), one), abs=1e-12)


@given(segment_lists(min_size=1))
def test_the_truth_itself_earns_one(targets):
    assert sequential(answer(targets), targets) == 1.0


@given(disjoint_lists())
def test_leaving_one_out_or_moving_it_away_costs(targets):
    *rest, last = targets
    moved = Segment(last.start_s + 5, last.end_s + 5)
    further = Segment(last.start_s + 50, last.end_s + 50)
    perfect = sequential(answer(targets), targets)
    near = sequential(answer([*rest, moved]), targets)
    far = sequential(answer([*rest, further]), targets)
    missing = sequential(answer(rest), targets)
    assert perfect > near > far > missing
