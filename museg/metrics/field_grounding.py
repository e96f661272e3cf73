"""Grounding scores that the field reports, the same on every benchmark whatever its own script counts.

IoU is float64, an exact tie with a threshold is a hit wherever on the time axis it lies, and matches are one to one: an
answer gains nothing by naming a segment twice.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from museg.metrics.average_precision import cross_iou, detection_average_precision
from museg.metrics.grounding_scores import IOU_THRESHOLDS, set_iou
from museg.metrics.moment_retrieval import NUM_RANKED_WINDOWS, PRECISION_THRESHOLDS
from museg.metrics.one_to_one import num_pairs
from museg.metrics.overlaps import TIE_TOLERANCE
from museg.metrics.sample_table import Means, SampleTable
from museg.temporal.segments import Segment

RECALL_THRESHOLDS = (0.3, 0.5, 0.7)
MATCH_THRESHOLDS = IOU_THRESHOLDS
_COUNTS = ("count_accuracy", "count_f1", "too_few", "too_many")
_PRECISIONS = {"mAP": None, "mAP@0.5": 0.5, "mAP@0.75": 0.75}
_MATCHED = ("f1", "precision", "recall")
_COLUMNS = (
    "mean_iou",
    "mean_iou@1",
    *(f"recall@{k}@{t}" for k in (1, 5) for t in RECALL_THRESHOLDS),
    *(f"{score}@{t}" for score in _MATCHED for t in MATCH_THRESHOLDS),
    *_PRECISIONS,
    *_COUNTS,
)


class FieldGroundingTable(SampleTable):
    """Means over all samples (0 to 1) of `field_scores`, and mean_f1, mean_precision, mean_recall over thresholds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(_COLUMNS, **options)

    def update(self, position: int, predicted: Sequence[Segment], targets: Sequence[Segment]) -> None:
        """Add one answer's segments, in the order written, and the true ones; no segment scores 0."""
        self.add(position, field_scores(predicted, targets))

    def summarise(self, means: Means) -> dict[str, Any]:
        """The means themselves, and those over the thresholds of segment F1, precision and recall."""
        averages = {
            f"mean_{score}": sum(means[f"{score}@{t}"] for t in MATCH_THRESHOLDS) / len(MATCH_THRESHOLDS)
            for score in _MATCHED
        }
        return {**means, **averages}


def field_scores(predicted: Sequence[Segment], targets: Sequence[Segment]) -> dict[str, float]:
    """Scores of one answer (0 to 1) by column; `museg.metrics.evaluation_keys` says what each is."""
    found, true = _as_array(predicted), _as_array(targets)
    scores = {"mean_iou": set_iou(_proper(predicted), _proper(targets))}
    scores |= _first_scores(found, true)
    for threshold, num_matched in zip(MATCH_THRESHOLDS, num_pairs(predicted, targets, MATCH_THRESHOLDS), strict=True):
        scores[f"precision@{threshold}"] = num_matched / max(len(found), 1)
        scores[f"recall@{threshold}"] = num_matched / max(len(true), 1)
        scores[f"f1@{threshold}"] = 2 * num_matched / max(len(found) + len(true), 1)
    return scores | _precision_scores(found, true) | count_scores(len(found), len(true))


def count_scores(num_predicted: int, num_true: int) -> dict[str, float]:
    """Whether the number of segments is right, too small or too large, and 2 min / sum of the two numbers."""
    total = num_predicted + num_true
    return {
        "count_accuracy": float(num_predicted == num_true),
        "count_f1": 2 * min(num_predicted, num_true) / total if total else 1.0,
        "too_few": float(num_predicted < num_true),
        "too_many": float(num_predicted > num_true),
    }


def _first_scores(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """IoU of the first segment with the true one it meets best; recall of the first and of the best of five."""
    best = _ious(found[:5], true).max(axis=1) if found.size and true.size else np.zeros(1)
    scores = {"mean_iou@1": float(best[0])}
    for threshold in RECALL_THRESHOLDS:
        scores[f"recall@1@{threshold}"] = float(best[0] >= threshold - TIE_TOLERANCE)
        scores[f"recall@5@{threshold}"] = float(best.max() >= threshold - TIE_TOLERANCE)
    return scores


def _precision_scores(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Moment mAP of the segments in the order written; as many as there are true ones are looked at, at least ten."""
    ranked = found[: max(NUM_RANKED_WINDOWS, len(true))]
    thresholds = np.array(PRECISION_THRESHOLDS)
    precisions = detection_average_precision(_ious(ranked, true), thresholds - TIE_TOLERANCE)
    return {
        name: float(precisions.mean() if threshold is None else precisions[PRECISION_THRESHOLDS.index(threshold)])
        for name, threshold in _PRECISIONS.items()
    }


def _ious(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """IoU [n, g]; 0 where it is undefined."""
    return np.nan_to_num(cross_iou(found, true), nan=0.0)


def _as_array(segments: Sequence[Segment]) -> np.ndarray:
    """Segments as float64 [n, 2]."""
    return np.fromiter(chain.from_iterable(segments), dtype=np.float64, count=2 * len(segments)).reshape(-1, 2)


def _proper(segments: Sequence[Segment]) -> list[Segment]:
    """The segments that cover any time: a reversed one does not, nor one with a time that is no number."""
    return [segment for segment in segments if segment[0] < segment[1]]
