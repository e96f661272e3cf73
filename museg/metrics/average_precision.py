"""Average precision of ranked time windows and of ranked clips, and the float64 IoU both moment scores start from.

Shapes: n windows in descending order of confidence; g true windows; t IoU thresholds; c clips.
"""

from collections.abc import Sequence

import numpy as np


def cross_iou(windows: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """IoU of every window [n, 2] with every target [g, 2], as [n, g]; NaN where the union is zero or infinite.

    **Source:** jayleicn/moment_detr, standalone_eval/utils.py, compute_temporal_iou_batch_cross.
    """
    one, other = windows[:, None], targets[None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shared_s = np.maximum(np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0]), 0.0)
        union_s = (one[..., 1] - one[..., 0]) + (other[..., 1] - other[..., 0]) - shared_s
        return shared_s / union_s


def hull_iou(window: Sequence[float], target: Sequence[float]) -> float:
    """Shared seconds over the seconds from the first start to the last end; 0 where that stretch is empty or undefined.

    The same as IoU where two windows overlap, up to the last bit; 0 as well where they do not.
    **Source:** jayleicn/moment_detr, standalone_eval/utils.py, compute_temporal_iou_batch_paired.
    """
    (start_s, end_s), (true_start_s, true_end_s) = window[:2], target[:2]
    shared_s = max(0.0, min(end_s, true_end_s) - max(start_s, true_start_s))
    hull_s = max(end_s, true_end_s) - min(start_s, true_start_s)
    return shared_s / hull_s if hull_s > 0 else 0.0


def detection_average_precision(ious: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Interpolated average precision [t] of windows whose IoU with the targets is `ious` [n, g].

    Window by window, the free target of highest IoU is taken if that IoU reaches the threshold; of equal ones the later
    target. Everything else is a false positive. An undefined IoU (NaN) ranks highest and always reaches it, as in the
    published script. No window or no target: 0.

    **Source:** jayleicn/moment_detr, standalone_eval/utils.py, compute_average_precision_detection and
    interpolated_precision_recall.
    """
    num_windows, num_targets = ious.shape
    if not ious.size:
        return np.zeros(len(thresholds))
    is_free = np.ones((len(thresholds), num_targets), dtype=bool)
    is_hit = np.zeros((len(thresholds), num_windows), dtype=bool)
    orders = np.argsort(ious, axis=1, kind="stable")[:, ::-1]
    reaches = ~(np.take_along_axis(ious, orders, axis=1)[:, None] < thresholds[:, None])  # [n, t, g], best first
    for row, order in enumerate(orders):
        usable = is_free[:, order] & reaches[row]
        found = np.flatnonzero(usable.any(axis=1))
        is_hit[found, row] = True
        is_free[found, order[usable[found].argmax(axis=1)]] = False
    precision = is_hit.cumsum(axis=1) / np.arange(1, num_windows + 1)
    return (_non_increasing(precision) * is_hit).sum(axis=1) / num_targets


def ranking_average_precision(is_positive: np.ndarray, scores: np.ndarray) -> float:
    """Average precision of clips [c] ranked by finite scores [c]: interpolated precision, mean over recall levels.

    Clips of equal score are one level. Without a positive clip it is 0, without a negative one 1.

    **Source:** jayleicn/moment_detr, standalone_eval/utils.py, get_ap (which calls scikit-learn's
    precision_recall_curve).
    """
    if not is_positive.any() or is_positive.all():
        return float(is_positive.any())
    order = np.argsort(-scores, kind="stable")
    ends_level = np.append(np.diff(scores[order]) != 0, True)
    num_found = is_positive[order].cumsum()[ends_level]
    precision = num_found / np.flatnonzero(np.append(False, ends_level))
    is_recall_level = np.diff(num_found, prepend=0) > 0
    return float(_non_increasing(precision)[is_recall_level].mean())


def _non_increasing(precision: np.ndarray) -> np.ndarray:
    """Every precision replaced by the highest at its recall or beyond (last axis)."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
