import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from museg.meco.suppression import ranked, ranked_as_released

RUNS = st.lists(
    st.tuples(st.integers(0, 8), st.integers(1, 6), st.integers(-4, 4)), min_size=1, max_size=8
)  # start, length, score in quarters


def places(rank, edges: list[tuple[int, int]], scores: list[float], suppression_iou: float = 0.7) -> list[int]:
    return [place for place, _ in rank(np.array(edges), np.array(scores), suppression_iou)]


def test_best_first_and_of_equals_the_first():
    edges = [(0, 2), (4, 6), (8, 10)]
    assert ranked(np.array(edges), np.array([0.1, 0.9, -0.5]), 0.7) == [(1, 0.9), (0, 0.1), (2, -0.5)]
    assert places(ranked, edges, [0.5, 0.9, 0.5]) == [1, 0, 2]


def test_a_run_that_a_better_one_overlaps_is_left_out():
    # IoU with 0-10: 0.7 and 0.6
    edges = [(0, 10), (0, 7), (0, 6)]
    assert places(ranked, edges, [0.5, 0.4, 0.3]) == [0, 2]
    assert places(ranked, edges, [0.5, 0.4, 0.3], suppression_iou=1.5) == [0, 1, 2]


def test_a_run_left_out_suppresses_nothing():
    # 0-10 takes 0-8 (IoU 0.8) out; 0-6 overlaps that by 0.75, but 0-10 by 0.6 only
    assert places(ranked, [(0, 10), (0, 8), (0, 6)], [0.5, 0.4, 0.3]) == [0, 2]


def test_released_suppression_lifts_runs_above_negative_scores():
    edges, scores = np.array([(0, 10), (0, 9), (20, 30)]), np.array([0.5, -0.5, -0.25])
    assert ranked_as_released(edges, scores, 0.7) == [(0, 0.5), (1, 0.0), (2, -0.25)]


def test_released_order_of_equals_is_that_of_exchanges():
    # the last run is the best and changes places with the first, which then stands behind its equal
    edges = [(0, 2), (4, 6), (8, 10)]
    assert places(ranked_as_released, edges, [0.5, 0.5, 1.0]) == [2, 1, 0]
    assert places(ranked, edges, [0.5, 0.5, 1.0]) == [2, 0, 1]


def test_a_released_run_that_is_suppressed_suppresses_with_score_0():
    # 0-8 is suppressed by 0-10, and at score 0 takes 0-6 (IoU 0.75), which was negative, to 0 as well
    edges, scores = np.array([(0, 10), (0, 8), (0, 6)]), np.array([0.5, -0.25, -0.5])
    assert ranked_as_released(edges, scores, 0.7) == [(0, 0.5), (1, 0.0), (2, 0.0)]
    assert ranked(edges, scores, 0.7) == [(0, 0.5), (2, -0.5)]


@given(RUNS, st.sampled_from([0.3, 0.7, 2.0]))
def test_both_ways_agree_on_positive_scores(runs, suppression_iou):
    edges = np.array([(start, start + length) for start, length, _ in runs])
    scores = np.array([1 + quarters / 8 for _, _, quarters in runs])  # positive: nothing is lifted
    kept = ranked(edges, scores, suppression_iou)
    released = ranked_as_released(edges, scores, suppression_iou)
    assert sorted(place for place, _ in released) == list(range(len(runs)))
    assert [score for _, score in released] == sorted((score for _, score in released), reverse=True)
    if len(set(scores.tolist())) == len(runs):
        # a run of score 0 stays at the end, and what it suppressed there had not been chosen before
        assert [place for place, score in released if score > 0] == [place for place, _ in kept]
