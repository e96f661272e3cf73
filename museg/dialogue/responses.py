"""Read a model's text. Two readers stand side by side because the release has two, and they disagree.

Training (`read_strict`): items separated by whitespace, each `start-end`, both read by Python's float(); anything else
voids the answer. Evaluation (`read_lenient`): every number in the answer, taken two by two, signs dropped. "-5-15", "5
to 15" and "5,15" are nothing to the first and 5 to 15 to the second; "1e1-2e1" is 10 to 20 to the first and the
pairs 1 to 1 and 2 to 1 to the second. Making them one would move either the rewards or the published scores.

Text is data here: no input raises, and the cost is linear in its length.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from museg.temporal.segments import Segment

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
_NUMBER = re.compile(r"\d+\.*\d*")


class Fault(str, Enum):
    """The first rule that a text breaks, in this order."""

    NO_ANSWER = "no_answer"  # not exactly one answer block
    BAD_TAGS = "bad_tags"  # not: one think block, one answer block, nothing but whitespace around them (strict only)
    UNREADABLE = "unreadable"  # strict: an item is not start-end; lenient: something like 5..15 is not a number
    ODD_COUNT = "odd_count"  # the numbers cannot be taken two by two (lenient only)
    NOT_A_SEGMENT = "not_a_segment"  # an end that is not after its start, or a time that is not a number


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A text read once; every reward term and metric looks here instead of at the text.

    text: as given.
    reasoning: the inside of the only think block, else None.
    answer: the inside of the only answer block, else None.
    segments: in the order written; where a rule voids them None (strict) or an empty tuple (lenient).
    fault: first broken rule or None.
    boundaries_s: start, end, start, end ... of a strictly read answer, also where they make no proper segments (the
    format rewards accept 9-2); None when an item could not be read.
    """

    text: str
    reasoning: str | None
    answer: str | None
    segments: tuple[Segment, ...] | None
    fault: Fault | None
    boundaries_s: tuple[float, ...] | None = None

    @property
    def is_well_formed(self) -> bool:
        """True when the tags stand as demanded and every item could be read (full format reward)."""
        return self.fault in (None, Fault.NOT_A_SEGMENT)


def read_strict(text: str) -> ParsedResponse:
    """Read `text` as training does.

    Segments need one answer block only; the think block matters to the fault, and with it to the format reward. An
    empty answer is an empty list. Numbers are whatever Python's float() takes ("1_0", "inf", digits of any script); a
    minus sign never survives, it is the separator.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, the format and matching rewards, which share this grammar.
    """
    places = {tag: _only_place(text, tag) for tag in TAGS}
    answer = _between(text, places, ANSWER_OPEN, ANSWER_CLOSE)
    boundaries_s = None if answer is None else _read_boundaries(answer)
    segments = None if boundaries_s is None else _pair_up(boundaries_s)
    if segments is not None and not _are_proper(segments):
        segments = None
    if answer is None:
        fault = Fault.NO_ANSWER
    elif not _has_both_blocks_only(text, places):
        fault = Fault.BAD_TAGS
    elif boundaries_s is None:
        fault = Fault.UNREADABLE
    else:
        fault = Fault.NOT_A_SEGMENT if segments is None else None
    reasoning = _between(text, places, THINK_OPEN, THINK_CLOSE)
    return ParsedResponse(text, reasoning, answer, segments, fault, boundaries_s)


def read_lenient(text: str) -> ParsedResponse:
    """Read `text` as evaluation does: `segments` is never None, any fault leaves it empty.

    Source: THUNLP-MT/MUSEG 889565e, src/eval_grounding.py.
    """
    answer = answer_block(text)
    segments, fault = ((), Fault.NO_ANSWER) if answer is None else read_number_pairs(answer)
    return ParsedResponse(text, _inside(text, THINK_OPEN, THINK_CLOSE), answer, segments, fault)


def read_lenient_answer(answer_text: str) -> tuple[Segment, ...]:
    """The segments that evaluation finds in the inside of an answer block; empty as soon as one pair is bad."""
    return read_number_pairs(answer_text)[0]


def answer_block(text: str) -> str | None:
    """The inside of the only answer block, not stripped; None where there is none, or more than one."""
    return _inside(text, ANSWER_OPEN, ANSWER_CLOSE)


def read_number_pairs(answer: str) -> tuple[tuple[Segment, ...], Fault | None]:
    """What evaluation finds in the inside of an answer block: segments, or none and the rule that voids them all."""
    numbers = _NUMBER.findall(answer)
    if len(numbers) % 2:
        return (), Fault.ODD_COUNT
    try:
        segments = _pair_up([float(number) for number in numbers])
    except ValueError:
        return (), Fault.UNREADABLE
    if not _are_proper(segments):
        return (), Fault.NOT_A_SEGMENT
    return segments, None


def _inside(text: str, opening: str, closing: str) -> str | None:
    """What stands between two tags that occur exactly once each, in this order; None otherwise."""
    return _between(text, {tag: _only_place(text, tag) for tag in (opening, closing)}, opening, closing)


def _only_place(text: str, tag: str) -> int:
    """Where a tag begins that occurs exactly once; -1 otherwise."""
    first = text.find(tag)
    return first if first == text.rfind(tag) else -1


def _between(text: str, places: Mapping[str, int], opening: str, closing: str) -> str | None:
    """What stands between two tags with their `_only_place`s; None where one has none or they stand the other way."""
    start, end = places[opening], places[closing]
    if start < 0 or end < start + len(opening):
        return None
    return text[start + len(opening) : end]


def _has_both_blocks_only(text: str, places: Mapping[str, int]) -> bool:
    """True for [space] think block [space] answer block [space], each tag exactly once; space is any Unicode
    whitespace.
    """
    if min(places.values()) < 0:
        return False
    stripped = text.strip()
    if not (stripped.startswith(THINK_OPEN) and stripped.endswith(ANSWER_CLOSE)):
        return False
    between = _between(text, places, THINK_CLOSE, ANSWER_OPEN)
    return between is not None and not between.strip()


def _read_boundaries(answer: str) -> tuple[float, ...] | None:
    """Every `start-end` of a strict answer as two floats; parts after a second dash are ignored; None when one item
    fails.
    """
    boundaries_s: list[float] = []
    for item in answer.split():
        parts = item.split("-", 2)
        if len(parts) < 2:
            return None
        try:
            boundaries_s += (float(parts[0]), float(parts[1]))
        except ValueError:
            return None
    return tuple(boundaries_s)


def _are_proper(segments: Sequence[Segment]) -> bool:
    """True when every start lies before its end, which NaN never does. Neither grammar can write a negative time."""
    return all(start_s < end_s for start_s, end_s in segments)


def _pair_up(boundaries_s: Sequence[float]) -> tuple[Segment, ...]:
    return tuple(map(Segment, boundaries_s[::2], boundaries_s[1::2]))
