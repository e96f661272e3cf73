"""E.T. Bench tasks answered with times: one range, all ranges, a summary of the clip, or one moment."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from museg.dialogue.et_bench_answers import OFFICIAL_RAISES, is_finite, read_highlight_time, read_ranges
from museg.metrics.et_bench_table import EtBenchTable, five_decimals
from museg.metrics.grounding_scores import IOU_THRESHOLDS
from museg.metrics.overlaps import best_overlaps, detection_f1, iou_table
from museg.metrics.sample_table import NOT_COUNTED, SPOILED, Means
from museg.temporal.segments import Segment

IOU, F1, HIT = "iou", "f1", "hit"
HITS = {threshold: f"hit@{threshold}" for threshold in IOU_THRESHOLDS}
F1S = {threshold: f"f1@{threshold}" for threshold in IOU_THRESHOLDS}
NUM_SECONDS = 1_000
"""Length of the grid on which summaries are compared; what lies beyond is not seen."""


class EtBenchRangeTable(EtBenchTable):
    """tvg, epm, tem: the first range of the answer. tem accepts any of its true ranges, the best counts.

    What the script calls F1 for tvg and epm is the share of samples whose range meets the truth. An IoU of exactly 0.7
    misses: the script compares its float32 IoU with a float64 threshold. An undefined IoU makes mIoU NaN.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, tvg_eval, tem_eval.
    """

    def __init__(self, task: str, **options: Any) -> None:
        self.task = task
        self.stem, self.mean_name = ("R", "mRec") if task == "tem" else ("F1", "F1")
        super().__init__((IOU, *HITS.values()), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against `row["tgt"]`."""
        reading = read_ranges(text)
        if reading.segments is None:
            self.add_failure(position, raises=reading.failure == OFFICIAL_RAISES)
        else:
            self.add_scores(position, range_values(reading.segments[0], true_ranges(self.task, row)))

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"mIoU": five_decimals(means[IOU]), **threshold_scores(means, HITS, self.stem, self.mean_name)}


class EtBenchActionTable(EtBenchTable):
    """tal: F1 over all ranges of the answer, by sample; many predictions may meet one truth.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, tal_eval.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(tuple(F1S.values()), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against `row["tgt"]`. An undefined IoU that hides a miss stops the script."""
        reading = read_ranges(text)
        if reading.segments is None:
            return self.add_failure(position, raises=reading.failure == OFFICIAL_RAISES)
        overlaps = best_overlaps(reading.segments, row["tgt"])
        values = {name: detection_f1(overlaps, threshold) for threshold, name in F1S.items()}
        if any(map(math.isnan, values.values())):
            return self.add_failure(position, raises=True)
        self.add_scores(position, values)

    def summarise(self, means: Means) -> dict[str, Any]:
        return threshold_scores(means, F1S, "F1", "F1")


class EtBenchSummaryTable(EtBenchTable):
    """evs: F1 of the seconds named and the seconds of the true summary, averaged over answers that could be read.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, evs_eval.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__((F1,), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against `row["tgt"]`; an answer that stops the script counts as 0, an unreadable one not."""
        reading = read_ranges(text)
        if reading.failure == OFFICIAL_RAISES or (reading.segments and not is_finite(reading.segments)):
            self.add_failure(position, raises=True)
        elif reading.segments is None:
            self.add_failure(position, raises=False, values={F1: NOT_COUNTED})
        else:
            self.add_scores(position, {F1: seconds_f1(reading.segments, row["tgt"])})

    def summarise(self, means: Means) -> dict[str, Any]:
        readable = means[F1]
        return {"F1": five_decimals(np.where(np.isnan(readable), 0.0, readable))}


class EtBenchHighlightTable(EtBenchTable):
    """vhd: whether the moment named lies in a true highlight of any annotator, ends included.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, vhd_eval.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__((HIT,), **options)

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against `row["tgt"]`: ranges, or a list of them for every annotator."""
        time_s = read_highlight_time(text)
        if time_s is None:
            return self.add_failure(position, raises=False)
        truths = row["tgt"]
        by_annotator = truths if isinstance(truths[0][0], (list, tuple)) else [truths]
        is_hit = any(start_s <= time_s <= end_s for ranges in by_annotator for start_s, end_s in ranges)
        self.add_scores(position, {HIT: float(is_hit)})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"F1": five_decimals(means[HIT])}


def true_ranges(task: str, row: Mapping[str, Any]) -> Sequence[Segment]:
    """The true ranges of a row; tvg, epm and gvq write their only one without a list around it."""
    return row["tgt"] if task == "tem" else [row["tgt"]]


def range_values(predicted: Segment, targets: Sequence[Segment]) -> dict[str, float]:
    """IoU and hits of one range against the best of `targets`; an undefined IoU hits nothing and spoils the mean."""
    iou = float(iou_table([predicted], targets).max())
    hits = {name: float(iou >= threshold) for threshold, name in HITS.items()}
    return {IOU: SPOILED if math.isnan(iou) else iou, **hits}


def threshold_scores(means: Means, columns: Mapping[float, str], stem: str, mean_name: str) -> dict[str, Any]:
    """`stem@threshold` for every threshold, and their mean of unrounded values, to five decimals."""
    scores = {f"{stem}@{threshold}": means[column] for threshold, column in columns.items()}
    mean = sum(scores.values()) / len(scores)
    return {name: five_decimals(score) for name, score in scores.items()} | {mean_name: five_decimals(mean)}


def seconds_f1(predicted: Sequence[Segment], targets: Sequence[Segment]) -> float:
    """F1 of two sets of whole seconds, each boundary rounded to the nearest (halves to even); 0 without overlap."""
    named, true = _seconds(predicted), _seconds(targets)
    num_shared = np.count_nonzero(named & true)
    if not num_shared:
        return 0.0
    recall, precision = float(num_shared / np.count_nonzero(true)), float(num_shared / np.count_nonzero(named))
    return 2 * precision * recall / (precision + recall)


def _seconds(segments: Sequence[Segment]) -> np.ndarray:
    """Which of the NUM_SECONDS seconds some segment covers, as booleans."""
    boundaries = np.clip(np.rint(np.asarray(segments, dtype=np.float64)), 0, NUM_SECONDS).astype(np.int64)
    changes = np.bincount(boundaries[:, 0], minlength=NUM_SECONDS + 1)
    changes -= np.bincount(boundaries[:, 1], minlength=NUM_SECONDS + 1)
    return np.cumsum(changes)[:NUM_SECONDS] > 0
