"""What the released grounding script would report without its known defects, under names of its own.

Answers are read as the script reads them. `exact_*`: IoU in float64, an exact tie is a hit at every threshold, an
undefined IoU is 0 and spoils nothing. `one_to_one_*`: a segment counts once, so repeating an answer earns nothing.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from museg.metrics.corrected_et_bench import exact_scores
from museg.metrics.et_bench_localisation import F1S, HITS, IOU
from museg.metrics.grounding_scores import IOU_THRESHOLDS
from museg.metrics.one_to_one import one_to_one_f1
from museg.metrics.overlaps import TIE_TOLERANCE, iou_table
from museg.metrics.sample_table import Means, SampleTable
from museg.temporal.segments import Segment


class ExactGroundingTable(SampleTable):
    """tvg: `exact_mIoU`, `exact_R@t`, `exact_mRec` of the first predicted segment with the first true one."""

    def __init__(self, **options: Any) -> None:
        super().__init__((IOU, *HITS.values()), **options)

    def update(self, position: int, predicted: Sequence[Segment], targets: Sequence[Segment]) -> None:
        """Score one answer; without a predicted segment it scores 0."""
        iou = float(np.nan_to_num(iou_table(predicted[:1], targets[:1], np.float64)).max(initial=0.0))
        hits = {column: float(iou >= threshold - TIE_TOLERANCE) for threshold, column in HITS.items()}
        self.add(position, {IOU: iou, **hits})

    def summarise(self, means: Means) -> dict[str, Any]:
        return exact_scores(means)


class OneToOneGroundingTable(SampleTable):
    """tal: `one_to_one_F1@t` and their mean `one_to_one_F1`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(tuple(F1S.values()), **options)

    def update(self, position: int, predicted: Sequence[Segment], targets: Sequence[Segment]) -> None:
        """Score one answer; without a predicted segment it scores 0."""
        scores = one_to_one_f1(predicted, targets, IOU_THRESHOLDS)
        self.add(position, dict(zip(F1S.values(), scores, strict=True)))

    def summarise(self, means: Means) -> dict[str, Any]:
        scores = {f"one_to_one_F1@{threshold}": means[column] for threshold, column in F1S.items()}
        return {**scores, "one_to_one_F1": sum(scores.values()) / len(scores)}
