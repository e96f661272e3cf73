import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.rewards.coverage import CoverageReward, overlap_s
from museg.temporal.segments import Segment, intersection_s, merge
from tests.rewards.answers import UNREADABLE, answer
from tests.temporal.drawn_segments import disjoint_lists, segment_lists, segments

coverage = CoverageReward()


def test_by_hand():
    # shared 5 of 10 predicted and 10 true seconds: P = R = 1/2, F1 = 1/2
    assert coverage(answer([Segment(0, 10)]), [Segment(5, 15)]) == pytest.approx(0.5, abs=1e-6)
    # shared 10 of 40 predicted and 10 true: P = 1/4, R = 1, F1 = 0.5 / 1.25
    assert coverage(answer([Segment(0, 40)]), [Segment(5, 15)]) == pytest.approx(0.4, abs=1e-6)


def test_epsilon_keeps_a_perfect_answer_just_below_one():
    # P = R = 10 / (10 + 1e-6); F1 = 2 P R / (P + R + 1e-6)
    ratio = 10 / (10 + 1e-6)
    assert coverage(answer([Segment(0, 10)]), [Segment(0, 10)]) == 2 * ratio * ratio / (ratio + ratio + 1e-6)


def test_predictions_are_merged_and_targets_are_not():
    twice = [Segment(0, 10), Segment(0, 10)]
    assert coverage(answer(twice), [Segment(0, 10)]) == pytest.approx(1.0, abs=1e-5)
    # targets 0-10 twice: shared 20 of 10 predicted and 20 true: P = 2, R = 1, F1 = 4/3
    assert coverage(answer([Segment(0, 10)]), twice) == pytest.approx(4 / 3, abs=1e-5)


def test_degenerate_sides_earn_nothing():
    assert coverage(UNREADABLE, [Segment(0, 1)]) == 0.0
    assert coverage(answer([]), [Segment(0, 1)]) == 0.0
    assert coverage(answer([Segment(0, 1)]), []) == 0.0
    assert coverage(answer([Segment(0, 1)]), [Segment(1, 1)]) == 0.0
    assert coverage(answer([Segment(0, 50)]), [Segment(38, 13)]) == 0.0


@given(segment_lists(), disjoint_lists())
def test_bounded_for_disjoint_targets(predictions, targets):
    assert 0.0 <= coverage(answer(predictions), targets) <= 1.0


@given(disjoint_lists(), disjoint_lists())
def test_symmetric_for_disjoint_sides(one, other):
    assert coverage(answer(one), other) == pytest.approx(coverage(answer(other), one), abs=1e-12)


@given(segment_lists(), disjoint_lists(), st.randoms())
def test_blind_to_the_order_of_the_answer(predictions, targets, random):
    shuffled = random.sample(predictions, len(predictions))
    assert coverage(answer(shuffled), targets) == coverage(answer(predictions), targets)


@given(segments(60), st.integers(1, 99), st.integers(1, 99))
def test_grows_while_the_answer_grows_inside_the_target(target, one, other):
    def share(percent):
        return Segment(target.start_s, target.start_s + (target.end_s - target.start_s) * percent / 100)

    less, more = (coverage(answer([share(percent)]), [target]) for percent in sorted((one, other)))
    assert less <= more if one == other else less < more


@given(disjoint_lists(), segments(60))
def test_falls_when_seconds_outside_every_target_are_added(targets, extra):
    outside = Segment(extra.start_s + 1000, extra.end_s + 1000)
    assert coverage(answer([*targets, outside]), targets) < coverage(answer(targets), targets)


@given(segment_lists(), segment_lists())
def test_skipping_far_segments_changes_no_bit_of_the_sum(predictions, targets):
    merged = merge(predictions)
    total_s = 0.0
    for target in targets:
        for segment in merged:
            total_s += intersection_s(target, segment)
    assert overlap_s(targets, merged) == total_s
