"""Scores of one answer, worked out by hand, and their bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.metrics.grounding_scores import f1_at, grounding_scores, recall_at, set_iou
from museg.temporal.segments import Segment, intersection_s, merge, total_length_s

segments = st.lists(
    st.tuples(st.floats(0, 50), st.floats(0.1, 10)).map(lambda pair: Segment(pair[0], pair[0] + pair[1])), max_size=5
)


def test_set_iou_counts_no_second_twice():
    # predicted 0-4 and 2-6 merge to 0-6; true 3-9: shared 3 s, union 9 s
    assert set_iou([Segment(0, 4), Segment(2, 6)], [Segment(3, 9)]) == pytest.approx(3 / 9)


def test_set_iou_of_one_against_one_is_plain_iou():
    assert set_iou([Segment(2, 6)], [Segment(4, 8)]) == pytest.approx(2 / 6)


def test_nothing_predicted_scores_zero():
    scores = grounding_scores([], [Segment(1, 2)])
    assert scores["mean_iou"] == scores["f1@0.1"] == scores["recall@0.7"] == 0
    assert scores["num_true_segments"] == 1


def test_recall_and_f1_allow_several_to_share_a_match():
    # both true segments lie in the one prediction 0-4 at IoU 2/4 = 0.5: recall 1, precision 1
    predicted, targets = [Segment(0, 4)], [Segment(0, 2), Segment(2, 4)]
    assert recall_at(predicted, targets, 0.5) == 1
    assert f1_at(predicted, targets, 0.5) == 1
    assert f1_at(predicted, targets, 0.7) == 0


def test_f1_is_the_harmonic_mean():
    # one of two predictions is right (precision 1/2), the only truth is found (recall 1): 2 * 0.5 / 1.5 = 2/3
    assert f1_at([Segment(0, 2), Segment(5, 7)], [Segment(0, 2)], 0.5) == pytest.approx(2 / 3)


@given(segments, segments)
def test_scores_are_bounded_and_iou_symmetric(a, b):
    assert 0 <= set_iou(a, b) <= 1 + 1e-12
    assert set_iou(a, b) == pytest.approx(set_iou(b, a))
    assert all(0 <= f1_at(a, b, t) <= 1 for t in (0.1, 0.5))


@given(segments.filter(bool))
def test_the_truth_itself_is_perfect(targets):
    scores = grounding_scores(targets, targets)
    assert scores["mean_iou"] == pytest.approx(1)
    assert scores["f1@0.7"] == scores["recall@0.7"] == scores["count_accuracy"] == 1


any_order = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda pair: Segment(*pair)), max_size=6)


@given(any_order, any_order)
def test_set_iou_shares_what_all_pairs_share(predicted, targets):
    merged_predicted, merged_targets = merge(predicted), merge(targets)  # reversed segments included
    shared_s = sum(intersection_s(a, b) for a in merged_predicted for b in merged_targets)
    union_s = total_length_s(merged_predicted) + total_length_s(merged_targets) - shared_s
    assert set_iou(predicted, targets) == (shared_s / union_s if union_s > 0 else 0.0)
