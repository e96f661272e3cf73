"""Scores of the released grounding script: `tvg` looks at one segment, `tal` at all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from museg.metrics.grounding_scores import IOU_THRESHOLDS
from museg.metrics.overlaps import best_overlaps, detection_f1, iou_table
from museg.metrics.sample_table import SPOILED, Means, SampleTable
from museg.temporal.segments import Segment

IOU = "iou"
_STEMS = {"tvg": "f1_single", "tal": "f1_multi"}


class ReleasedGroundingTable(SampleTable):
    """Recall at IoU and mean IoU of the first segments (`tvg`), or F1 over all segments (`tal`).

    `predicted` is what `museg.dialogue.responses.read_lenient_answer` reads: nothing where the answer has a fault,
    which scores 0. Only `tal` lets an IoU of exactly 0.7 pass: there the script compares in float32. An undefined IoU
    makes `m_iou` NaN.

    Source: THUNLP-MT/MUSEG 889565e, src/eval_grounding.py, eval.
    """

    def __init__(self, task: str, **options: Any) -> None:
        if task not in _STEMS:
            raise ValueError(f"the released script scores {' or '.join(_STEMS)}, got {task!r}")
        stem = _STEMS[task]
        self.score_names = {f"{stem}_{threshold}": threshold for threshold in IOU_THRESHOLDS}
        self.mean_name = f"mean_{stem}"
        super().__init__((*((IOU,) if task == "tvg" else ()), *self.score_names), **options)

    def update(self, position: int, predicted: Sequence[Segment], targets: Sequence[Segment]) -> None:
        """Score one answer; without a predicted or a true segment it scores 0."""
        if not predicted or not targets:
            values = dict.fromkeys(self.columns, 0.0)
        elif IOU in self.columns:
            iou = float(iou_table(predicted[:1], targets[:1])[0, 0])
            values = {IOU: SPOILED if np.isnan(iou) else iou}
            values |= {name: float(iou >= threshold) for name, threshold in self.score_names.items()}
        else:
            overlaps = best_overlaps(predicted, targets)
            scores = {name: detection_f1(overlaps, threshold) for name, threshold in self.score_names.items()}
            values = {name: 0.0 if np.isnan(score) else score for name, score in scores.items()}
        self.add(position, values)

    def summarise(self, means: Means) -> dict[str, Any]:
        scores = {name: means[name] for name in self.score_names}
        overall = {"m_iou": means[IOU]} if IOU in self.columns else {}
        return {**overall, **scores, self.mean_name: sum(scores.values()) / len(scores)}
