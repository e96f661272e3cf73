"""Scores of one answer against its true segments: pure functions of two lists of segments in seconds."""

from collections.abc import Sequence

from museg.temporal.segments import Segment, intersection_s, iou, merge, total_length_s

IOU_THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
"""Thresholds of segment F1 and recall. **Source:** THUNLP-MT/MUSEG 889565e, src/eval_grounding.py."""


def set_iou(predicted: Sequence[Segment], targets: Sequence[Segment]) -> float:
    """Intersection over union, in seconds, of everything predicted and everything true (0 to 1).

    Both sides are merged first, so that no second counts twice. For one predicted and one true segment this is the
    ordinary temporal IoU; an empty or zero-length union gives 0.
    """
    merged_predicted, merged_targets = merge(predicted), merge(targets)
    shared_s = _shared_s(merged_predicted, merged_targets)
    union_s = total_length_s(merged_predicted) + total_length_s(merged_targets) - shared_s
    return shared_s / union_s if union_s > 0 else 0.0


def _shared_s(a: Sequence[Segment], b: Sequence[Segment]) -> float:
    """Seconds in both of two merged lists, in one pass: an answer may hold a million segments."""
    shared_s, i, j = 0.0, 0, 0
    while i < len(a) and j < len(b):
        shared_s += intersection_s(a[i], b[j])
        if a[i].end_s < b[j].end_s:
            i += 1
        else:
            j += 1
    return shared_s


def recall_at(predicted: Sequence[Segment], targets: Sequence[Segment], threshold: float) -> float:
    """Share of true segments that some predicted segment meets at IoU >= `threshold` (several may share one)."""
    return _covered_share(targets, predicted, threshold)


def f1_at(predicted: Sequence[Segment], targets: Sequence[Segment], threshold: float) -> float:
    """Segment F1 at an IoU threshold (0 to 1): many-to-one matches count, as in the released evaluation.

    **Source:** THUNLP-MT/MUSEG 889565e, src/eval_grounding.py (its float32 rounding at exact thresholds is left out:
    this is the score watched during training).
    """
    recall = _covered_share(targets, predicted, threshold)
    precision = _covered_share(predicted, targets, threshold)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _covered_share(segments: Sequence[Segment], others: Sequence[Segment], threshold: float) -> float:
    if not segments:
        return 0.0
    return sum(any(iou(one, other) >= threshold for other in others) for one in segments) / len(segments)


def grounding_scores(predicted: Sequence[Segment], targets: Sequence[Segment]) -> dict[str, float]:
    """All scores of one answer by metric name; see `museg.metrics.keys` for what each name means."""
    scores = {
        "mean_iou": set_iou(predicted, targets),
        "num_predicted_segments": float(len(predicted)),
        "num_true_segments": float(len(targets)),
        "count_accuracy": float(len(predicted) == len(targets)),
    }
    for threshold in IOU_THRESHOLDS:
        scores[f"f1@{threshold}"] = f1_at(predicted, targets, threshold)
        scores[f"recall@{threshold}"] = recall_at(predicted, targets, threshold)
    return scores
