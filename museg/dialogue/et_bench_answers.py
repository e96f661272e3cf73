"""Read an answer of E.T. Bench as its evaluation does: time ranges, one moment, or the letter of an option.

The grammars are those of the published script, oddities included ("01:05 - 01:20" is 1 to 5; a wrong "(B)" does not
keep the text of option A from counting), because the published scores rest on them. Where the script would stop with an
exception, the answer is a failure of its own kind.

Text is data here: no input raises. A number is held on to once it is read, so the cost is linear in the text's length.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from museg.dialogue.dense_captions import read_dense_captions
from museg.dialogue.event_tokens import EVENT_TOKEN
from museg.temporal.segments import Segment

UNREADABLE = "unreadable"
"""The answer holds nothing that the script could read."""
OFFICIAL_RAISES = "official_raises"
"""The published script stops with an exception on this answer."""
NO_LETTER = "no_letter"
"""The answer names no option, and nothing is left of it to be compared with the options' texts."""

CHOICE_TASKS = ("rar", "eca", "rvq")
RANGE_TASKS = ("tvg", "epm", "tem", "tal", "evs", "gvq")
CAPTION_TASKS = ("dvc", "slc")
TASKS = (*CHOICE_TASKS, *RANGE_TASKS, "vhd", *CAPTION_TASKS)

_NUMBER_HELD = r"(?<!\d)(?=(\d+\.*\d*))\1"
"""Digits, any dots, digits: as far as they go, from where digits begin. What is matched in a look-ahead is never given
back, which is what makes a search linear; a shorter number could not be followed by a blank, a dash or "to" anyway."""
_DASHED = re.compile(_NUMBER_HELD + r"\s*-\s*(\d+\.*\d*)")
_WORDED = re.compile(_NUMBER_HELD + r"\s* to \s*(\d+\.*\d*)")
_PIECE = re.compile(r"[^!?\n]+")
_TIME_WORD = re.compile("start|end|happen")
_LONE_NUMBER = re.compile(r"\b(\d+(?:\.\d+)?)\b")
_SIGNED_NUMBER = re.compile(r"[-+]?\d*\.\d+|[-+]?\d+")
_PARENTHESISED = re.compile(r"\(([A-Za-z])\)")
_PREAMBLE = "best option:"
_CONCLUSION = re.compile("the answer is", re.IGNORECASE)
_CONCLUDED = re.compile(r"\s*(?::\s*)?(?:\(([A-Za-z])\)|([A-Z])(?![\w']))")
_RELEASED_CONCLUSION = re.compile(r"Therefore, the answer is\s*(?::\s*)?\(([A-Za-z])\)")


@dataclass(frozen=True, slots=True)
class RangeReading:
    """segments: in the order written, start <= end, at least one; None with the kind of failure."""

    segments: tuple[Segment, ...] | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class OptionReading:
    """letters: lower-case letters that the answer names, in the order in which they are tried.
    remainder: the text that is compared with the options when no letter decides.
    """

    letters: tuple[str, ...]
    remainder: str


def read_ranges(text: str) -> RangeReading:
    """The time ranges of an answer (the inside of an answer block).

    The first rule that finds anything counts: all `a - b`; all `a to b`; the first number of every line (or of what
    stands between `!` and `?`) that speaks of a start, an end or a happening, taken two by two. Signs and units are not
    read; a range written backwards is turned round.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, tvg_format.
    """
    text = text.lower()
    pairs = _DASHED.findall(text) or _WORDED.findall(text)
    if not pairs:
        numbers = _lone_numbers(text)
        pairs = list(zip(numbers[::2], numbers[1::2], strict=False))
    if not pairs:
        return RangeReading(None, UNREADABLE)
    try:
        return RangeReading(tuple([_in_order(float(start), float(end)) for start, end in pairs]))
    except ValueError:  # 1..5 is found as a number, but is none
        return RangeReading(None, OFFICIAL_RAISES)


def read_highlight_time(text: str) -> float | None:
    """The first number of an answer with its sign, in seconds; None without one.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, vhd_eval.
    """
    found = _SIGNED_NUMBER.search(text)
    return float(found[0]) if found else None


def read_option(text: str) -> OptionReading:
    """The option an answer to rar, eca or rvq names: `(X)` anywhere, then a letter that opens the answer.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, rvq_eval.
    """
    remainder = _without_preamble(text.lower())
    found = _PARENTHESISED.search(text)
    letters = [found[1].lower()] if found else []
    return OptionReading((*letters, *_opening_letter(remainder)), remainder)


def read_opening_option(text: str) -> OptionReading:
    """The option an answer to gvq names: only a letter that opens the answer counts, and the text keeps its case.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, gvq_eval.
    """
    remainder = _without_preamble(text)
    return OptionReading(_opening_letter(remainder), remainder)


def read_concluded_option(text: str, *, official: bool = False) -> OptionReading:
    """The option an answer to gvq ends on, "Therefore, the answer is (X)", as MeCo's models are asked to write it.

    The last conclusion counts, with or without parentheses; a text without one is read as `read_opening_option` does.
    `official`: the first one counts and needs its parentheses; else the text loses the characters <, e, n, t and > at
    both ends, and nothing is skipped before an opening letter.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, gvq_eval.
    """
    if official:
        found = _RELEASED_CONCLUSION.search(text)
        remainder = found[1] if found else text.strip(EVENT_TOKEN)
        return OptionReading(_opening_letter(remainder), remainder)
    conclusions = list(_CONCLUSION.finditer(text))
    found = _CONCLUDED.match(text, conclusions[-1].end()) if conclusions else None
    if found is None:
        return read_opening_option(text)
    return OptionReading(((found[1] or found[2]).lower(),), text[found.start() :].strip())


def chosen_letter(words: str) -> str | None:
    """The option that a text ends on, or opens with; the article of "A man opens ..." is none."""
    reading, opening = read_concluded_option(words), read_opening_option(words)
    is_article = reading == opening and opening.remainder[1:2] == " "
    return reading.letters[0] if reading.letters and not is_article else None


def read_et_bench_answer(task: str, text: str, row: Mapping[str, Any]) -> tuple[tuple[Segment, ...] | None, str | None]:
    """What can be drawn of an answer to any of the twelve tasks, and its kind of failure.

    A moment (vhd) is a segment without length; a letter is no segment. `row` is the sample's annotation. Whether the
    script stops at comparing an answer with its truth (equal ranges of zero length) is for the metric to say.
    """
    if task in CHOICE_TASKS:
        option = read_option(text)
        return None, None if option.letters or option.remainder else NO_LETTER
    if task == "vhd":
        time_s = read_highlight_time(text)
        return (None, UNREADABLE) if time_s is None else ((Segment(time_s, time_s),), None)
    if task in CAPTION_TASKS:
        found = read_dense_captions(text)
        return (None, UNREADABLE) if found is None else (tuple(found.segments), None)
    if task not in RANGE_TASKS:
        raise ValueError(f"unknown task {task!r} of E.T. Bench; one of {', '.join(TASKS)}")
    reading = read_ranges(text)
    if task == "evs" and reading.segments is not None and not is_finite(reading.segments):
        return None, OFFICIAL_RAISES  # no second to round to
    if task == "gvq" and not read_opening_option(text).remainder:
        return reading.segments, NO_LETTER
    return reading.segments, reading.failure


def is_finite(segments: Sequence[Segment]) -> bool:
    """Whether no boundary is a number too large for a float."""
    return not any(math.isinf(end_s) for _, end_s in segments)


def _in_order(start_s: float, end_s: float) -> Segment:
    return Segment(start_s, end_s) if end_s > start_s else Segment(end_s, start_s)


def _lone_numbers(text: str) -> list[str]:
    """The first number of every piece of text that holds one of the words, be it inside another ("friend")."""
    if not _TIME_WORD.search(text):
        return []
    pieces = filter(_TIME_WORD.search, _PIECE.findall(text))
    return [found[1] for found in map(_LONE_NUMBER.search, pieces) if found]


def _without_preamble(text: str) -> str:
    if text[: len(_PREAMBLE)].lower() == _PREAMBLE:
        text = text[len(_PREAMBLE) :]
    return text.lstrip().lstrip("(").lstrip()


def _opening_letter(remainder: str) -> tuple[str, ...]:
    """The first character when it stands alone or before a full stop, comma, blank or closing parenthesis."""
    is_alone = len(remainder) == 1 or remainder[1:2] in (".", ",", " ", ")")
    return (remainder[0].lower(),) if is_alone else ()
