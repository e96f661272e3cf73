"""Average precision against values worked out by hand and against definitions written out in loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.metrics.average_precision import (
    cross_iou,
    detection_average_precision,
    hull_iou,
    ranking_average_precision,
)

HALF = np.array([0.5])


def test_iou_of_every_pair():
    # [0, 10] with [0, 5]: 5 / 10; with [20, 30]: nothing; [5, 5] with itself: 0 / 0
    found = cross_iou(np.array([[0.0, 10.0], [5.0, 5.0]]), np.array([[0.0, 5.0], [20.0, 30.0], [5.0, 5.0]]))
    assert found[0].tolist() == [0.5, 0.0, 0.0]
    assert np.isnan(found[1, 2])


def test_hull_iou_counts_the_gap():
    assert hull_iou((0.0, 10.0), (5.0, 15.0)) == pytest.approx(5 / 15)
    assert hull_iou((0.0, 1.0), (9.0, 10.0)) == 0.0
    assert hull_iou((3.0, 3.0), (3.0, 3.0)) == 0.0
    assert hull_iou((float("nan"), 1.0), (0.0, 1.0)) == 0.0


def test_a_target_is_found_once():
    # hit, miss (its target is taken), hit: precision 1, 1/2, 2/3 -> non-increasing 1, 2/3, 2/3; (1 + 2/3) / 2 targets
    ious = np.array([[0.9, 0.0], [0.8, 0.0], [0.0, 0.6]])
    assert detection_average_precision(ious, HALF) == pytest.approx([(1 + 2 / 3) / 2])


def test_a_window_takes_the_best_target_that_is_free():
    # both windows meet both targets: two hits in two
    ious = np.array([[0.9, 0.6], [0.8, 0.7]])
    assert detection_average_precision(ious, HALF) == pytest.approx([1.0])
    # at 0.75 the second one's best target is taken and the other too far: 1/2 of the recall at precision 1
    assert detection_average_precision(ious, np.array([0.75])) == pytest.approx([0.5])


def test_an_undefined_iou_counts_as_found():
    assert detection_average_precision(np.array([[np.nan]]), HALF).tolist() == [1.0]


def test_nothing_to_find_or_nothing_found():
    assert detection_average_precision(np.zeros((0, 2)), HALF).tolist() == [0.0]
    assert detection_average_precision(np.zeros((2, 0)), HALF).tolist() == [0.0]


def test_ranked_clips():
    # order: clip 1 (no), 0 (yes), 2 (yes), 3 (no): precision at the two hits 1/2, 2/3 -> both 2/3
    positive = np.array([True, False, True, False])
    assert ranking_average_precision(positive, np.array([0.8, 0.9, 0.5, 0.1])) == pytest.approx(2 / 3)
    # all equal: one level, precision 2/4
    assert ranking_average_precision(positive, np.zeros(4)) == pytest.approx(0.5)


def test_clips_without_a_contrast():
    assert ranking_average_precision(np.zeros(3, dtype=bool), np.arange(3.0)) == 0.0
    assert ranking_average_precision(np.ones(3, dtype=bool), np.arange(3.0)) == 1.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=1, max_size=12))
def test_ranking_by_definition(clips):
    positive = np.array([is_positive for is_positive, _ in clips])
    scores = np.array([score for _, score in clips], dtype=np.float64)
    if positive.all() or not positive.any():
        return
    levels = []  # (clips found, precision) down to every score that is given
    for lowest in sorted(set(scores), reverse=True):
        kept = scores >= lowest
        levels.append((int((positive & kept).sum()), (positive & kept).sum() / kept.sum()))
    recalls = sorted({found for found, _ in levels} - {0})
    by_recall = [max(precision for found, precision in levels if found >= recall) for recall in recalls]
    assert ranking_average_precision(positive, scores) == pytest.approx(sum(by_recall) / len(by_recall))


@given(st.lists(st.lists(st.sampled_from([0.0, 0.4, 0.5, 0.9]), min_size=3, max_size=3), min_size=1, max_size=6))
def test_average_precision_is_a_share_and_falls_with_the_threshold(rows):
    found = detection_average_precision(np.array(rows), np.array([0.5, 0.9]))
    assert 0 <= found[1] <= found[0] <= 1
