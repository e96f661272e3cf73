"""Moment retrieval as QVHighlights and Charades-STA are scored: recall of the first windows and mean average precision.

**Source:** pangzss/MeCo 1885e32, tools/momentDETR_eval.py, which follows showlab/UniVTG, eval/eval.py, and
jayleicn/moment_detr, standalone_eval/eval.py.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from museg.metrics.average_precision import cross_iou, detection_average_precision, hull_iou
from museg.metrics.percentages import percent
from museg.metrics.sample_table import NOT_COUNTED, Means, SampleTable
from museg.temporal.segments import Segment

Window = tuple[float, float, float]
"""(start_s, end_s, score)."""

NUM_RANKED_WINDOWS = 10
"""Windows of an answer that average precision looks at: the first ten given, then put in the order of their scores."""
RECALL_THRESHOLDS = tuple(round(0.3 + 0.05 * step, 2) for step in range(14))
PRECISION_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
LENGTHS_S: Mapping[str, tuple[float, float]] = {
    "full": (-math.inf, math.inf),
    "long": (30.0, math.inf),
    "middle": (10.0, 30.0),
    "short": (0.0, 10.0),
}
"""Range of true windows by length: longer than the first, at most the second number of seconds."""

_RECALLS = tuple(f"{score}@{t}" for score in ("R1", "R5") for t in RECALL_THRESHOLDS)
_COLUMNS = ("mIoU", *_RECALLS, *(f"mAP@{t}" for t in PRECISION_THRESHOLDS))
_BRIEF = {f"full-{score}@{t}" for score in ("R1", "R5") for t in (0.3, 0.5, 0.7)} | {"full-mAP@0.5", "full-mAP@0.75"}
_BRIEF |= {f"{name}-{score}" for name in LENGTHS_S for score in ("mIoU", "mAP")}


class MomentRetrievalTable(SampleTable):
    """`MR-<range>-<score>` in percent with two decimals, for the ranges of `LENGTHS_S`.

    Scores: mIoU and R1@t of the first window, against the true window it meets best; R5@t of the best pair among the
    first five; mAP@t, and mAP as their mean. In a range only the true windows of that length count, and only samples
    that have one; when no sample has, the published script scores the whole set again, and so does this.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(tuple(f"{name}-{column}" for name in LENGTHS_S for column in _COLUMNS), **options)

    def update(self, position: int, windows: Sequence[Window], targets: Sequence[Segment]) -> None:
        """Add the windows of one answer, best first, and the true windows.

        Without a window the published script stops; here such an answer scores 0 (`window_scores.windows_of` gives
        the fall-back that it expects).
        """
        found = np.array([window[:3] for window in islice(windows, NUM_RANKED_WINDOWS)], dtype=np.float64).reshape(
            -1, 3
        )
        true = np.array([target[:2] for target in targets], dtype=np.float64).reshape(-1, 2)
        full = moment_scores(found, true)
        row = {}
        for name, (above_s, up_to_s) in LENGTHS_S.items():
            lengths_s = true[:, 1] - true[:, 0]
            is_kept = (above_s < lengths_s) & (lengths_s <= up_to_s)
            if name == "full" or (len(true) and is_kept.all()):
                scores = full
            elif is_kept.any():
                scores = moment_scores(found, true[is_kept])
            else:
                scores = dict.fromkeys(_COLUMNS, NOT_COUNTED)
            row |= {f"{name}-{column}": value for column, value in scores.items()}
        self.add(position, row)

    def summarise(self, means: Means) -> dict[str, Any]:
        """Percentages from the mean of every column; a range nobody has takes the numbers of the whole set."""
        filled = {}
        for key, mean in means.items():
            name, _, column = key.partition("-")
            filled[f"{name}-{column}"] = np.where(np.isnan(mean), means[f"full-{column}"], mean)
        return {f"MR-{key}": percent(share) for key, share in _with_averages(filled).items()}


class CorrectedMomentRetrievalTable(MomentRetrievalTable):
    """`no_fallback_MR-<range>-<score>`: the scores papers quote, without what the published tools give away.

    An answer without windows is added without windows and scores 0 (there it earns what the whole video earns). A
    window that is no stretch of time is left out (there an undefined IoU counts as found). A length range that no
    sample has is NaN (there it repeats the whole set).
    """

    def update(self, position: int, windows: Sequence[Window], targets: Sequence[Segment]) -> None:
        """Add the windows of one answer, best first, and the true windows."""
        real = (window for window in windows if -math.inf < window[0] < window[1] < math.inf)
        super().update(position, tuple(islice(real, NUM_RANKED_WINDOWS)), targets)

    def summarise(self, means: Means) -> dict[str, Any]:
        """Percentages from the mean of every column; NaN for a range nobody has."""
        shares = _with_averages(means)
        return {f"no_fallback_MR-{key}": percent(share) for key, share in shares.items() if key in _BRIEF}


def moment_scores(windows: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """All scores (0 to 1) of one answer's windows [n, 3] against true windows [g, 2]; all 0 when either is empty."""
    if not windows.size or not targets.size:
        return dict.fromkeys(_COLUMNS, 0.0)
    ious = cross_iou(windows, targets)
    first = hull_iou(windows[0].tolist(), targets[np.argmax(ious[0])].tolist())
    in_five = np.nan_to_num(ious[:5], nan=0.0)
    best_window, best_target = np.unravel_index(np.argmax(in_five), in_five.shape)
    best = hull_iou(windows[best_window].tolist(), targets[best_target].tolist())
    by_score = np.argsort(-windows[:, 2], kind="stable")
    precisions = detection_average_precision(ious[by_score], np.array(PRECISION_THRESHOLDS))
    recalls = [float(first >= t) for t in RECALL_THRESHOLDS] + [float(best >= t) for t in RECALL_THRESHOLDS]
    return dict(zip(_COLUMNS, [first, *recalls, *precisions.tolist()], strict=True))


def _with_averages(shares: Means) -> dict[str, Any]:
    """`shares` and each range's mAP, the mean over its thresholds."""
    averages = {
        f"{name}-mAP": sum(shares[f"{name}-mAP@{t}"] for t in PRECISION_THRESHOLDS) / len(PRECISION_THRESHOLDS)
        for name in LENGTHS_S
    }
    return {**shares, **averages}
