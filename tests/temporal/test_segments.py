import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.temporal.segments import (
    Segment,
    intersection_s,
    iou,
    length_s,
    merge,
    normalised_giou,
    total_length_s,
)
from tests.temporal.drawn_segments import segment_lists, segments


def test_length_is_signed():
    assert length_s(Segment(2.0, 5.5)) == 3.5
    assert length_s(Segment(38.0, 13.0)) == -25.0


def test_total_length_counts_overlaps_twice():
    # (10 - 0) + (15 - 5) = 20 although only 15 seconds are covered
    assert total_length_s([Segment(0.0, 10.0), Segment(5.0, 15.0)]) == 20.0
    assert total_length_s([]) == 0.0


def test_total_length_adds_left_to_right_without_compensation():
    # 0.1 + 0.2 + 0.3 is 0.6000000000000001 in this order; a compensated sum would give 0.6
    assert total_length_s([Segment(0.0, 0.1), Segment(0.0, 0.2), Segment(0.0, 0.3)]) == 0.1 + 0.2 + 0.3


def test_intersection():
    assert intersection_s(Segment(0.0, 10.0), Segment(4.0, 20.0)) == 6.0
    assert intersection_s(Segment(0.0, 1.0), Segment(1.0, 2.0)) == 0.0
    assert intersection_s(Segment(0.0, 1.0), Segment(5.0, 6.0)) == 0.0
    assert intersection_s(Segment(38.0, 13.0), Segment(0.0, 50.0)) == 0.0


def test_merge_joins_touching_overlapping_and_nested():
    given_order = [Segment(7.0, 8.0), Segment(0.0, 2.0), Segment(2.0, 3.0), Segment(5.0, 9.0), Segment(5.5, 6.0)]
    # 0-2 touches 2-3; 5-9 holds 5.5-6 and 7-8
    assert merge(given_order) == [Segment(0.0, 3.0), Segment(5.0, 9.0)]
    assert merge([]) == []


def test_iou():
    # shared 5, union 10 + 10 - 5 = 15
    assert iou(Segment(0.0, 10.0), Segment(5.0, 15.0)) == pytest.approx(1 / 3)
    assert iou(Segment(0.0, 1.0), Segment(2.0, 3.0)) == 0.0
    assert math.isnan(iou(Segment(1.0, 1.0), Segment(2.0, 2.0)))


def test_normalised_giou_by_hand():
    # shared 5, union 15, hull 15: (1 + 1/3 - 0) / 2
    assert normalised_giou(Segment(0.0, 10.0), Segment(5.0, 15.0)) == pytest.approx(2 / 3)
    # shared 0, union 2, hull 10: (1 + 0 - 8/10) / 2
    assert normalised_giou(Segment(0.0, 1.0), Segment(9.0, 10.0)) == pytest.approx(0.1)
    # reversed truth: shared 0, union 2 - 25 = -23, hull 13 - 10 = 3: (1 + 0 - (3 + 23)/3) / 2
    assert normalised_giou(Segment(10.0, 12.0), Segment(38.0, 13.0)) == pytest.approx((1 - 26 / 3) / 2)


def test_normalised_giou_is_nan_where_undefined():
    assert math.isnan(normalised_giou(Segment(5.0, math.inf), Segment(1.0, 2.0)))
    assert math.isnan(normalised_giou(Segment(2.0, 6.0), Segment(7.0, 3.0)))  # union 4 - 4 = 0
    assert math.isnan(normalised_giou(Segment(3.0, 3.0), Segment(3.0, 3.0)))


@given(segments(), segments())
def test_normalised_giou_is_symmetric_and_bounded(a, b):
    assert normalised_giou(a, b) == normalised_giou(b, a)
    assert 0.0 < normalised_giou(a, b) <= 1.0
    assert (normalised_giou(a, b) == pytest.approx(1.0, abs=1e-12)) == (a == b)
    assert normalised_giou(a, a) == 1.0


@given(segments(), st.integers(0, 20_000), st.integers(1, 20_000))
def test_normalised_giou_falls_with_distance(segment, shift_cs, further_cs):
    def moved(by_cs):
        return Segment(segment.start_s + by_cs / 100, segment.end_s + by_cs / 100)

    near, far = normalised_giou(segment, moved(shift_cs)), normalised_giou(segment, moved(shift_cs + further_cs))
    assert far < near


@given(segment_lists())
def test_merge_is_sorted_disjoint_and_keeps_the_covered_time(drawn):
    merged = merge(drawn)
    assert all(left.end_s < right.start_s for left, right in pairwise(merged))
    # covered time, counted on the hundredths that the drawn boundaries lie on
    covered = {cs for s in drawn for cs in range(round(s.start_s * 100), round(s.end_s * 100))}
    assert total_length_s(merged) == pytest.approx(len(covered) / 100)
    assert merge(merged) == merged
    assert merge(reversed(drawn)) == merged
