import pytest
from hypothesis import given

from museg.rewards.overlap_ratio import OverlapRatioReward
from museg.temporal.segments import Segment, merge
from tests.rewards.answers import UNREADABLE, answer
from tests.temporal.drawn_segments import segment_lists, segments

overlap_ratio = OverlapRatioReward()


def test_by_hand():
    # shared 5 of 15 covered seconds
    assert overlap_ratio(answer([Segment(0, 10)]), [Segment(5, 15)]) == pytest.approx(1 / 3)
    # answer covers 0-4 and 6-10 (8 s), truth 2-8 (6 s): shared 4, covered 10
    assert overlap_ratio(answer([Segment(0, 4), Segment(6, 10)]), [Segment(2, 8)]) == pytest.approx(0.4)


def test_both_sides_are_merged():
    # merged truth 0-15; a perfect answer is exactly 1, never more
    truth = [Segment(0, 10), Segment(5, 15)]
    assert overlap_ratio(answer(truth), truth) == 1.0


def test_degenerate_sides_earn_nothing():
    for targets in ([], [Segment(3, 3)], [Segment(38, 13)]):
        assert overlap_ratio(answer([]), targets) == 0.0
        assert overlap_ratio(answer([Segment(0, 40)]), targets) == 0.0
    assert overlap_ratio(UNREADABLE, [Segment(0, 1)]) == 0.0


@given(segment_lists(min_size=1), segment_lists(min_size=1))
def test_symmetric_and_bounded(one, other):
    value = overlap_ratio(answer(one), other)
    assert 0.0 <= value <= 1.0 + 1e-12
    assert value == pytest.approx(overlap_ratio(answer(other), one), abs=1e-12)
    if merge(one) == merge(other):
        assert value == pytest.approx(1.0)


@given(segment_lists(min_size=1), segments(60))
def test_falls_when_seconds_outside_every_target_are_added(targets, extra):
    outside = Segment(extra.start_s + 1000, extra.end_s + 1000)
    assert overlap_ratio(answer([*targets, outside]), targets) < overlap_ratio(answer(targets), targets)
