"""What E.T. Bench would report without the known defects of its script, under names of its own.

Answers are read as the script reads them. An answer that it stops at scores 0.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from museg.dialogue.et_bench_answers import is_finite, read_option, read_ranges
from museg.metrics.et_bench_choices import ACC, Similarity, closest_option, grounded_option, named_option
from museg.metrics.et_bench_localisation import F1, F1S, HITS, IOU, seconds_f1, true_ranges
from museg.metrics.grounding_scores import IOU_THRESHOLDS
from museg.metrics.one_to_one import one_to_one_f1
from museg.metrics.overlaps import TIE_TOLERANCE, iou_table
from museg.metrics.sample_table import Means, SampleTable
from museg.temporal.segments import Segment


class ExactRangeTable(SampleTable):
    """tvg, epm, tem: `exact_mIoU`, `exact_R@t` and `exact_mRec`.

    IoUs are float64, an exact tie is a hit at every threshold, an undefined IoU is 0 and spoils nothing.
    """

    def __init__(self, task: str, **options: Any) -> None:
        super().__init__((IOU, *HITS.values()), **options)
        self.task = task

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score the first range of one answer against `row["tgt"]`."""
        self.add(position, first_range_values(text, self.task, row))

    def summarise(self, means: Means) -> dict[str, Any]:
        return exact_scores(means)


class ExactGroundedChoiceTable(ExactRangeTable):
    """gvq: as `ExactRangeTable`, where only a right option earns anything; options are read as the script does."""

    def __init__(self, similarity: Similarity, **options: Any) -> None:
        super().__init__("gvq", **options)
        self.similarity = similarity

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the option `row["p"]` of `row["o"]` and the range `row["tgt"]`."""
        if grounded_option(self.similarity, text, row) == row["p"]:
            super().update(position, text, row)
        else:
            self.add(position, dict.fromkeys(self.columns, 0.0))


class OneToOneActionTable(SampleTable):
    """tal: `one_to_one_F1@t` and their mean `one_to_one_F1`: repeating a range earns nothing here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(tuple(F1S.values()), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score all ranges of one answer against `row["tgt"]`."""
        scores = one_to_one_f1(read_ranges(text).segments or (), row["tgt"], IOU_THRESHOLDS)
        self.add(position, dict(zip(F1S.values(), scores, strict=True)))

    def summarise(self, means: Means) -> dict[str, Any]:
        scores = {f"one_to_one_F1@{threshold}": means[column] for threshold, column in F1S.items()}
        return {**scores, "one_to_one_F1": sum(scores.values()) / len(scores)}


class AllSamplesSummaryTable(SampleTable):
    """evs: `F1_all_samples`: an answer that cannot be read scores 0 instead of leaving the average."""

    def __init__(self, **options: Any) -> None:
        super().__init__((F1,), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against `row["tgt"]`."""
        segments = read_ranges(text).segments
        self.add(position, {F1: seconds_f1(segments, row["tgt"]) if segments and is_finite(segments) else 0.0})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"F1_all_samples": means[F1]}


class DecidedChoiceTable(SampleTable):
    """rar, eca, rvq: `Acc_letter_decides`: the first letter that names an option decides, also when it is wrong.

    Texts are compared only where no letter names an option.
    """

    def __init__(self, similarity: Similarity, num_options: int, **options: Any) -> None:
        super().__init__((ACC,), **options)
        self.similarity = similarity
        self.num_options = num_options

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the option `row["p"]` of `row["o"]`."""
        reading = read_option(text)
        option = named_option(reading, self.num_options)
        if option is None and reading.remainder:
            option = closest_option(self.similarity, reading.remainder, row["o"])
        self.add(position, {ACC: float(option == row["p"])})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"Acc_letter_decides": means[ACC]}


def first_range_values(text: str, task: str, row: Mapping[str, Any]) -> dict[str, float]:
    """IoU and hits of an answer's first range; 0 when it has none."""
    segments: tuple[Segment, ...] = read_ranges(text).segments or ()
    ious = iou_table(segments[:1], true_ranges(task, row), np.float64)
    iou = float(np.nan_to_num(ious).max(initial=0.0))
    return {IOU: iou} | {name: float(iou >= threshold - TIE_TOLERANCE) for threshold, name in HITS.items()}


def exact_scores(means: Means) -> dict[str, Any]:
    """`exact_mIoU`, `exact_R@t` and their mean `exact_mRec`, unrounded."""
    recalls = {f"exact_R@{threshold}": means[column] for threshold, column in HITS.items()}
    return {"exact_mIoU": means[IOU], **recalls, "exact_mRec": sum(recalls.values()) / len(recalls)}
