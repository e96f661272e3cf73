"""IoU of predicted with true segments as arrays: in float32 as the published scripts compute it, or in float64.

Shapes: P predicted segments, G true ones. An answer may hold a million segments, so the P x G table is never built
whole.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from museg.temporal.segments import Segment

TIE_TOLERANCE = 1e-9
"""Slack of an exact comparison in float64. Times with two decimals cannot come this close to a threshold that they
miss: their IoU is a ratio of whole hundredths of seconds."""
_CHUNK_CELLS = 1 << 20


class BestOverlaps(NamedTuple):
    """per_target [G] and per_predicted [P]: the highest IoU with any segment of the other side; NaN where one of those
    IoUs is undefined (0/0, or a boundary too large for a float).
    """

    per_target: np.ndarray
    per_predicted: np.ndarray


def iou_table(
    predicted: Sequence[Segment], targets: Sequence[Segment], dtype: type[np.floating] = np.float32
) -> np.ndarray:
    """IoU of every predicted with every true segment, [P, G].

    Source: nncore 0.4.5, ops.temporal_iou, in whose order the sums are taken.
    """
    one, other = _boundaries(predicted, dtype)[:, None], _boundaries(targets, dtype)[None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shared = np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0])
        shared = np.maximum(shared, dtype(0))
        return shared / ((other[..., 1] - other[..., 0]) + (one[..., 1] - one[..., 0]) - shared)


def iou_chunks(
    predicted: Sequence[Segment], targets: Sequence[Segment], dtype: type[np.floating] = np.float32
) -> Iterator[np.ndarray]:
    """The rows of `iou_table` in order, a bounded number at a time: [p, G] each, p <= P."""
    num_rows = max(1, _CHUNK_CELLS // max(1, len(targets)))
    for start in range(0, len(predicted), num_rows):
        yield iou_table(predicted[start : start + num_rows], targets, dtype)


def best_overlaps(predicted: Sequence[Segment], targets: Sequence[Segment]) -> BestOverlaps:
    """Best float32 overlaps; both sides must hold a segment."""
    tables = iou_chunks(predicted, targets)
    best = [(table.max(axis=0), table.max(axis=1)) for table in tables]
    per_target, per_predicted = zip(*best, strict=True)
    return BestOverlaps(np.max(per_target, axis=0), np.concatenate(per_predicted))


def detection_f1(overlaps: BestOverlaps, threshold: float) -> float:
    """F1 of recall (truths that some prediction meets) and precision (predictions that meet some truth).

    Many may meet one. The threshold is compared in float32, so an exact 0.7 is a hit. NaN where an undefined IoU hides
    that nothing is met, which makes the published scripts divide by zero.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, tal_eval, and src/eval_grounding.py, eval.
    """
    limit = np.float32(threshold)
    if overlaps.per_target.max() < limit:
        return 0.0
    recall = _share(overlaps.per_target >= limit)
    precision = _share(overlaps.per_predicted >= limit)
    total = precision + recall
    return 2 * precision * recall / total if total else float("nan")


def _share(hits: np.ndarray) -> float:
    """Share of hits as float32 has it."""
    return float(np.float32(np.count_nonzero(hits)) / np.float32(len(hits)))


def _boundaries(segments: Sequence[Segment], dtype: type[np.floating]) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(segments, dtype=dtype).reshape(-1, 2)
