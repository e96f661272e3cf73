"""E.T. Bench tasks answered with an option: by its letter, or by the text that comes closest to it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from museg.dialogue.et_bench_answers import (
    OFFICIAL_RAISES,
    OptionReading,
    read_opening_option,
    read_option,
    read_ranges,
)
from museg.metrics.et_bench_localisation import HITS, IOU, range_values, threshold_scores, true_ranges
from museg.metrics.et_bench_table import FAILED, RAISES, EtBenchTable, five_decimals
from museg.metrics.sample_table import Means
from museg.temporal.segments import Segment

Similarity = Callable[[str, Sequence[str]], Sequence[float]]
"""How close a text is to each of several; only the order of the numbers matters."""

ACC = "acc"
LETTERS = "abcde"
NUM_OPTIONS = (4, 5)


class EtBenchChoiceTable(EtBenchTable):
    """rar, eca, rvq: share of right options.

    A letter counts when it is right; when it is wrong the texts are compared all the same, so "(B)" with the text of
    option A is right for A. `num_options` is that of the group's first sample: letters beyond it name nothing.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, rvq_eval.
    """

    def __init__(self, similarity: Similarity, num_options: int, **options: Any) -> None:
        if num_options not in NUM_OPTIONS:
            raise ValueError(f"options of a sample: 4 or 5 in E.T. Bench, got {num_options}")
        super().__init__((ACC,), **options)
        self.similarity = similarity
        self.num_options = num_options

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the option `row["p"]` of `row["o"]`."""
        reading = read_option(text)
        is_hit = _names_truth(reading, row, self.num_options) or (
            bool(reading.remainder) and closest_option(self.similarity, reading.remainder, row["o"]) == row["p"]
        )
        self.add(position, {ACC: float(is_hit), FAILED: float(not reading.letters), RAISES: 0.0})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {"Acc": five_decimals(means[ACC])}


class EtBenchGroundedChoiceTable(EtBenchTable):
    """gvq: the option, and for a right one the first range of the same answer; ranges are scored over all samples.

    Where the script stops at the range of a right option, the sample keeps its option and scores 0 for the range.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, gvq_eval.
    """

    def __init__(self, similarity: Similarity, **options: Any) -> None:
        super().__init__((ACC, IOU, *HITS.values()), **options)
        self.similarity = similarity

    def update(self, position: int, text: str, row: Mapping[str, Any]) -> None:
        """Score one answer against the option `row["p"]` of `row["o"]` and the range `row["tgt"]`."""
        reading = read_ranges(text)
        option = grounded_option(self.similarity, text, row)
        self.add_found(position, option, reading.segments, row, raises=reading.failure == OFFICIAL_RAISES)

    def add_found(
        self,
        position: int,
        option: int | None,
        segments: Sequence[Segment] | None,
        row: Mapping[str, Any],
        *,
        raises: bool = False,
    ) -> None:
        """Score an option and the first of the segments; `raises`: the script stops at the segments of a right one."""
        if option is None:
            return self.add_failure(position, raises=False)
        if option != row["p"]:
            return self.add_scores(position, {ACC: 0.0, IOU: 0.0, **dict.fromkeys(HITS.values(), 0.0)})
        if not segments:
            return self.add_failure(position, raises=raises, values={ACC: 1.0})
        self.add_scores(position, {ACC: 1.0, **range_values(segments[0], true_ranges("gvq", row))})

    def summarise(self, means: Means) -> dict[str, Any]:
        return {
            "mIoU": five_decimals(means[IOU]),
            **threshold_scores(means, HITS, "R", "mRec"),
            "Acc": five_decimals(means[ACC]),
        }


def compared_texts(task: str, text: str, row: Mapping[str, Any], num_options: int | None = None) -> list[str]:
    """Every text whose similarity the table of `task` asks for when it gets this answer; empty when a letter decides.

    `num_options` as given to the table; the row's own number by default.
    """
    if task == "gvq":
        reading = read_opening_option(text)
        is_decided = named_option(reading, len(row["o"])) is not None
    elif task in ("rar", "eca", "rvq"):
        reading = read_option(text)
        is_decided = _names_truth(reading, row, num_options or len(row["o"]))
    else:
        return []
    if is_decided or not reading.remainder:
        return []
    return [reading.remainder, *option_texts(row["o"])]


def option_texts(options: Sequence[Any]) -> list[str]:
    """Options as they are compared with an answer: "(A) text", a time range as "(A) start - end"."""
    texts = (f"{option[0]} - {option[1]}" if isinstance(option, (list, tuple)) else option for option in options)
    return [f"({letter}) {text}" for letter, text in zip(LETTERS.upper(), texts, strict=False)]


def closest_option(similarity: Similarity, text: str, options: Sequence[Any]) -> int:
    """Index of the option that is most similar to `text`; the first of several."""
    scores = list(similarity(text, option_texts(options)))
    return max(range(len(scores)), key=scores.__getitem__)


def grounded_option(similarity: Similarity, text: str, row: Mapping[str, Any]) -> int | None:
    """Index of the option that an answer to gvq chooses: by an opening letter, else by its text; None when empty."""
    reading = read_opening_option(text)
    if not reading.remainder:
        return None
    named = named_option(reading, len(row["o"]))
    return closest_option(similarity, reading.remainder, row["o"]) if named is None else named


def named_option(reading: OptionReading, num_options: int) -> int | None:
    """Index of the first letter that names one of `num_options` options; None when no letter does."""
    letters = LETTERS[:num_options]
    return next((letters.index(letter) for letter in reading.letters if letter in tuple(letters)), None)


def _names_truth(reading: OptionReading, row: Mapping[str, Any], num_options: int) -> bool:
    """Whether one of the letters, not necessarily the first, is that of the right option."""
    truth = row["p"]
    return truth < num_options and LETTERS[truth] in reading.letters
