"""Highlight detection as QVHighlights scores it: which 2-second clips are the highlights of a query.

**Source:** jayleicn/moment_detr, standalone_eval/eval.py, mk_gt_scores, compute_hl_hit1 and compute_hl_ap.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from museg.metrics.average_precision import ranking_average_precision
from museg.metrics.percentages import percent
from museg.metrics.sample_table import Means, SampleTable

CLIP_LENGTH_S = 2.0
NUM_ANNOTATORS = 3
LEVELS: Mapping[str, int] = {"Fair": 2, "Good": 3, "VeryGood": 4}
"""Name of a level -> the lowest of an annotator's marks (0 to 4) that makes a clip positive."""


class HighlightTable(SampleTable):
    """`HL-min-<level>-mAP` and `HL-min-<level>-Hit1` in percent with two decimals, for the levels of `LEVELS`.

    mAP: average precision of the clips ranked by saliency, per annotator, mean over annotators and samples. Hit1: share
    of samples whose highest clip is positive for at least one annotator.
    """

    prefix = "HL"

    def __init__(self, **options: Any) -> None:
        super().__init__(tuple(f"{level}-{score}" for level in LEVELS for score in ("mAP", "Hit1")), **options)

    def update(self, position: int, saliency: Sequence[float], row: Mapping[str, Any]) -> None:
        """Add the scores of one answer, one for each clip, and the annotation row.

        `row` holds `duration` in seconds, `relevant_clip_ids` and, for each of these, the annotators' marks in
        `saliency_scores`. Where the published script stops (no scores, or one that is no finite number) the answer
        scores 0; scores beyond the annotated clips are cut off and missing ones are 0.
        """
        self.add(position, highlight_scores(np.asarray(saliency, dtype=np.float64), annotated_marks(row)))

    def summarise(self, means: Means) -> dict[str, Any]:
        """Percentages from the mean of every column."""
        return {f"{self.prefix}-min-{name}": percent(mean) for name, mean in means.items()}


class CorrectedHighlightTable(HighlightTable):
    """`no_fallback_HL-min-...`: the same scores for answers added without saliency where the answer had no window.

    The published tool gives such an answer the same score for all clips, which earns it the share of positive clips.
    """

    prefix = "no_fallback_HL"


def annotated_marks(row: Mapping[str, Any]) -> np.ndarray:
    """Marks of the annotators for all whole clips of the video, [c, NUM_ANNOTATORS]; 0 where nothing is annotated."""
    relevant = np.array(row["relevant_clip_ids"], dtype=np.int64)
    marks = np.array(row["saliency_scores"], dtype=np.float64).reshape(len(relevant), NUM_ANNOTATORS)
    num_clips = int(row["duration"] / CLIP_LENGTH_S)
    if relevant.size and (relevant.min() < 0 or relevant.max() >= num_clips):
        raise ValueError(
            f"relevant_clip_ids must lie in 0..{num_clips - 1} (clips of {CLIP_LENGTH_S:g} s in {row['duration']} s), "
            f"got {relevant.min()}..{relevant.max()}; correct the annotation row"
        )
    full = np.zeros((num_clips, NUM_ANNOTATORS))
    full[relevant] = marks
    return full


def highlight_scores(saliency: np.ndarray, marks: np.ndarray) -> dict[str, float]:
    """mAP and Hit1 (0 to 1) of one answer at every level: `saliency` [clips scored], `marks` [c, NUM_ANNOTATORS]."""
    is_usable = saliency.size and marks.size and np.isfinite(saliency).all()
    scores = {}
    for level, lowest in LEVELS.items():
        is_positive = marks >= lowest
        scores[f"{level}-mAP"] = _mean_average_precision(saliency, is_positive) if is_usable else 0.0
        scores[f"{level}-Hit1"] = _first_is_positive(saliency, is_positive) if is_usable else 0.0
    return scores


def _mean_average_precision(saliency: np.ndarray, is_positive: np.ndarray) -> float:
    fitted = np.zeros(len(is_positive))
    fitted[: len(saliency)] = saliency[: len(fitted)]
    return float(np.mean([ranking_average_precision(annotator, fitted) for annotator in is_positive.T]))


def _first_is_positive(saliency: np.ndarray, is_positive: np.ndarray) -> float:
    """Whether the highest clip (of equal ones the first) is positive; one beyond the annotated clips is not."""
    clip = int(np.argmax(saliency))
    return float(clip < len(is_positive) and is_positive[clip].any())
