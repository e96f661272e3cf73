import math
from itertools import permutations

import pytest
from hypothesis import given, settings

from museg.temporal.pairing import FAR_AWAY, maximum_pairs, sequential_pairs
from museg.temporal.segments import Segment, normalised_giou
from tests.temporal.drawn_segments import segment_lists

A, B, C = Segment(0.0, 5.0), Segment(10.0, 20.0), Segment(30.0, 31.0)


def test_sequential_pairs_keep_the_written_order_and_pad():
    assert sequential_pairs([B, A], [A, B]) == [(B, A), (A, B)]
    assert sequential_pairs([A], [A, B]) == [(A, A), (FAR_AWAY, B)]
    assert sequential_pairs([A, B], []) == [(A, FAR_AWAY), (B, FAR_AWAY)]
    assert sequential_pairs([], []) == []


def test_maximum_pairs_undo_a_permutation():
    assert set(maximum_pairs([C, A, B], [A, B, C])) == {(A, A), (B, B), (C, C)}


def test_maximum_pairs_pad_what_fits_worst():
    assert set(maximum_pairs([A, B, C], [C])) == {(C, C), (A, FAR_AWAY), (B, FAR_AWAY)}
    assert set(maximum_pairs([C], [A, B, C])) == {(C, C), (FAR_AWAY, A), (FAR_AWAY, B)}
    assert maximum_pairs([], [A]) == [(FAR_AWAY, A)]
    assert maximum_pairs([], []) == []


def test_between_equal_scores_the_padding_decides():
    # 10-15 and 5-25 both score (1 + 1/2) / 2 with 10-20; left over, the longer one earns more: 21 / 2e9 against 6 / 2e9
    short, long = Segment(10.0, 15.0), Segment(5.0, 25.0)
    for predictions in ([short, long], [long, short]):
        assert set(maximum_pairs(predictions, [Segment(10.0, 20.0)])) == {
            (short, Segment(10.0, 20.0)),
            (long, FAR_AWAY),
        }


def test_maximum_pairs_look_at_the_sum_not_at_the_best_pair():
    # Every hull equals the union here, so a score is (1 + IoU) / 2.
    # 2-12 with 2.5-12.5: shared 9.5 of 10.5 -> 0.952, the best pair; it leaves 4-14 with 0-10: 6 of 14 -> 0.714
    # 2-12 with 0-10: 8 of 12 -> 0.833, and 4-14 with 2.5-12.5: 8.5 of 11.5 -> 0.870. 1.703 beats 1.667.
    early, late = Segment(2.0, 12.0), Segment(4.0, 14.0)
    first, second = Segment(0.0, 10.0), Segment(2.5, 12.5)
    assert set(maximum_pairs([early, late], [second, first])) == {(early, first), (late, second)}


def test_undefined_scores_leave_the_written_order():
    endless = Segment(1.0, math.inf)
    assert maximum_pairs([B, endless], [A, B]) == [(B, A), (endless, B)]
    # reversed target with union 4 - 4 = 0 against the first prediction
    assert maximum_pairs([Segment(2.0, 6.0), B], [B, Segment(7.0, 3.0)]) == [
        (Segment(2.0, 6.0), B),
        (B, Segment(7.0, 3.0)),
    ]


def brute_force(predictions, targets):
    """The best sum over all assignments of the padded square, by trying every one."""
    size = max(len(predictions), len(targets))
    rows = [*predictions, *[FAR_AWAY] * (size - len(predictions))]
    columns = [*targets, *[FAR_AWAY] * (size - len(targets))]
    scores = [[normalised_giou(row, column) for column in columns] for row in rows]
    return max(sum(scores[row][column] for row, column in enumerate(order)) for order in permutations(range(size)))


@settings(max_examples=250, deadline=None)
@given(segment_lists(min_size=1), segment_lists(min_size=1))
def test_maximum_pairs_equal_brute_force_up_to_six_by_six(predictions, targets):
    pairs = maximum_pairs(predictions, targets)
    assert sum(normalised_giou(*pair) for pair in pairs) == pytest.approx(brute_force(predictions, targets), abs=1e-9)
    # one to one: every segment occurs as often as it was given
    assert sorted(p for p, _ in pairs if p != FAR_AWAY) == sorted(predictions)
    assert sorted(t for _, t in pairs if t != FAR_AWAY) == sorted(targets)
    assert len(pairs) == max(len(predictions), len(targets))


@pytest.mark.parametrize("num_each", [(6, 6), (6, 1), (1, 6), (5, 6), (6, 3)])
def test_brute_force_at_full_size(num_each):
    num_predictions, num_targets = num_each
    predictions = [Segment(7.0 * k % 31, 7.0 * k % 31 + 1 + k) for k in range(num_predictions)]
    targets = [Segment(11.0 * k % 29, 11.0 * k % 29 + 6 - k) for k in range(num_targets)]
    total = sum(normalised_giou(*pair) for pair in maximum_pairs(predictions, targets))
    assert total == pytest.approx(brute_force(predictions, targets), abs=1e-12)


def test_a_long_answer_needs_no_square_matrix():
    # 200,000 predictions: a padded square would take 320 GB
    predictions = [Segment(float(k % 997), float(k % 997 + 1 + k % 7)) for k in range(200_000)]
    targets = [Segment(10.0 * k, 10.0 * k + 5) for k in range(10)]
    pairs = maximum_pairs(predictions, targets)
    assert len(pairs) == 200_000
    # the predictions hold every target exactly, somewhere among the repetitions
    assert all(prediction == target for prediction, target in pairs if target != FAR_AWAY)
