"""Pair predicted with true segments, one to one, the shorter side padded with a segment far away."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from museg.temporal.segments import Segment

FAR_AWAY = Segment(1e9, 1e9 + 1)
"""The padding: a real segment scores about (length + 1) / 2e9 against it, so one too many or too few dilutes a mean.

Source: THUNLP-MT/MUSEG 889565e, src/train.py, reward_local_matching."""

Pair = tuple[Segment, Segment]


def sequential_pairs(predictions: Sequence[Segment], targets: Sequence[Segment]) -> list[Pair]:
    """(prediction, target) pairs in the order written: the k-th with the k-th, neither side sorted.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, reward_local_matching.
    """
    return list(zip_longest(predictions, targets, fillvalue=FAR_AWAY))


def maximum_pairs(predictions: Sequence[Segment], targets: Sequence[Segment]) -> list[Pair]:
    """(prediction, target) pairs with the largest possible sum of `normalised_giou`, padding counted.

    Every segment of the shorter side gets a partner of the longer one; what is left over meets the padding. Where a
    score is undefined (an infinite prediction, a reversed target of just the opposite length) no assignment is best,
    and the order written is returned.
    """
    is_swapped = len(predictions) > len(targets)
    shorter, longer = (targets, predictions) if is_swapped else (predictions, targets)
    partners = _best_partners(shorter, longer)
    if partners is None:
        return sequential_pairs(predictions, targets)
    taken = set(partners)
    pairs = [(segment, longer[column]) for segment, column in zip(shorter, partners, strict=True)]
    pairs += [(FAR_AWAY, segment) for column, segment in enumerate(longer) if column not in taken]
    return [(prediction, target) for target, prediction in pairs] if is_swapped else pairs


def _best_partners(shorter: Sequence[Segment], longer: Sequence[Segment]) -> list[int] | None:
    """The index in `longer` that each of `shorter` gets in a best assignment; None where a score is undefined.

    The padded square matrix is never built, however long an answer is. A pair counts by its gain over meeting the
    padding, and each of the k rows needs only its k best columns: if a best assignment gave it another column, one of
    those k would be free and at least as good. With n columns this takes O(k n) time and O(n + k^3) memory.
    """
    from scipy.optimize import linear_sum_assignment  # here: slow to import, and only this pairing needs it

    num_rows = len(shorter)
    if num_rows == 0:
        return []
    columns = np.asarray(longer, dtype=np.float64)  # [n, 2]
    padding = _scores(FAR_AWAY, columns)  # [n]
    useful: set[int] = set()
    for segment in shorter:
        gain = _scores(segment, columns) - padding
        if not np.isfinite(gain).all():
            return None
        useful.update(np.argpartition(-gain, num_rows - 1)[:num_rows].tolist())
    kept = np.array(sorted(useful))
    gains = np.stack([_scores(segment, columns[kept]) - padding[kept] for segment in shorter])  # [k, kept]
    _, chosen = linear_sum_assignment(gains, maximize=True)
    return kept[chosen].tolist()


def _scores(segment: Segment, others: np.ndarray) -> np.ndarray:
    """`normalised_giou` of one segment with each of `others` [n, 2], as [n]; non-finite where it is undefined."""
    starts_s, ends_s = others[:, 0], others[:, 1]
    start_s, end_s = segment
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shared_s = np.maximum(0.0, np.minimum(ends_s, end_s) - np.maximum(starts_s, start_s))
        union_s = (end_s - start_s) + (ends_s - starts_s) - shared_s
        hull_s = np.maximum(ends_s, end_s) - np.minimum(starts_s, start_s)
        return (1 + shared_s / union_s - (hull_s - union_s) / hull_s) / 2
