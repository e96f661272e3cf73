"""E.T. Bench as MeCo's released tool scores it, where it does not do as the benchmark's own script.

Segments are given there and not read in a text. Tasks that ask for segments or a moment alone are scored alike.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from museg.dialogue.dense_captions import DenseCaptions
from museg.dialogue.et_bench_answers import read_concluded_option, read_ranges
from museg.metrics.dense_captions import MAX_PROPOSALS, EtBenchDenseCaptionTable
from museg.metrics.et_bench_choices import ACC, LETTERS, EtBenchGroundedChoiceTable, Similarity, closest_option
from museg.metrics.et_bench_table import EtBenchTable, five_decimals
from museg.metrics.overlaps import iou_table
from museg.metrics.sample_table import Means
from museg.temporal.segments import Segment

RELEASED_PLACES = {"a": 0, "b": 1, "c": 2, "d": 4, "e": 5}
"""Letter -> the option it is taken for: D is never right among four options and means E among five."""


class MecoRangeChoiceTable(EtBenchTable):
    """eca: share of samples whose best segment is closest to the right one of the ranges to choose from.

    An answer without a segment is wrong, but not counted as failed.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, eca_eval.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__((ACC,), **options)

    def update(self, position: int, segments: Sequence[Segment], row: Mapping[str, Any]) -> None:
        """Score the first of an answer's segments against the option `row["p"]` of `row["o"]`."""
        is_hit = bool(segments) and closest_range(segments[0], row["o"]) == row["p"]
        self.add_scores(position, {ACC: float(is_hit)})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"Acc": five_decimals(means[ACC])}


class MecoGroundedChoiceTable(EtBenchGroundedChoiceTable):
    """gvq: as in the benchmark's script, but for how the option is read and for segments that are given.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, gvq_eval.
    """

    def update(self, position: int, text: str, row: Mapping[str, Any], segments: Sequence[Segment] = ()) -> None:
        """Score the option of a text and the first segment against `row["p"]` of `row["o"]` and `row["tgt"]`."""
        self.add_found(position, released_option(self.similarity, text, row), segments, row)


class MecoDenseCaptionTable(EtBenchDenseCaptionTable):
    """dvc, slc: as in the benchmark's script, but for moments and captions that are given.

    An answer without a moment counts as failed. The released tool stops there, or goes on with the number of moments of
    another video.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, dvc_eval, DVCEval.
    """

    def update(self, position: int, moments: Sequence[tuple[Segment, str]], row: Mapping[str, Any]) -> None:
        """Score moments and their captions against `row["tgt"]` and `row["g"]` of the video `row["video"]`."""
        kept = moments[:MAX_PROPOSALS]
        found = DenseCaptions(*map(tuple, zip(*kept, strict=True))) if kept else None
        self.add_found(position, found, row)


def closest_range(segment: Segment, options: Sequence[Any]) -> int:
    """Index of the option with the highest IoU, the first of several; each is "a - b" or a pair of numbers.

    Raises ValueError for an option that is no time range.
    """
    return int(iou_table([segment], [_range_of(option) for option in options])[0].argmax())


def released_option(similarity: Similarity, text: str, row: Mapping[str, Any]) -> int | None:
    """The place that a text's letter is taken for, else the option that comes closest to it; None for an empty text."""
    reading = read_concluded_option(text, official=True)
    if not reading.remainder:
        return None
    named = [letter for letter in reading.letters if letter in tuple(LETTERS[: len(row["o"])])]
    return RELEASED_PLACES[named[0]] if named else closest_option(similarity, reading.remainder, row["o"])


def _range_of(option: Any) -> Segment:
    segments = read_ranges(option).segments if isinstance(option, str) else (Segment(*option),)
    if not segments:
        raise ValueError(f"an option of eca is a time range such as `1.5 - 4`, got {option!r}; correct the annotation")
    return segments[0]
