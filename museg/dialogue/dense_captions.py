"""Read an answer that lists moments with a caption each, as the evaluation of E.T. Bench does.

Three grammars stand behind one another: every `a - b` of the answer; labelled `start time: a .. end time: b`; and,
where neither gives anything, the first piece of text that tells a time. Their oddities are part of the published
scores: a sentence before the first range becomes the first caption and shifts all others; captions of five characters
vanish.

Text is data here: no input raises. Every pattern holds on to a number that it has read, so no digit is read twice over,
and the cost is linear in the length of the text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from museg.temporal.segments import Segment

_NUMBER = r"(?<!\d)(?=(\d+\.*\d*))\1"
"""A number as far as it goes: digits, any number of dots, digits. The look-ahead keeps the matcher from giving back."""
_RANGE = re.compile(_NUMBER + r"\s*-\s*(\d+\.*\d*)")
_START = re.compile(r"start(?:ing)? time: (\d+\.*\d*)", re.IGNORECASE)
_END = re.compile(r"end(?:ing)? time: (\d+\.*\d*)", re.IGNORECASE)
_DESCRIPTION = re.compile(r"description: (.*)")
_BULLET = re.compile(r"\*\s*(.*)")
_UNUSABLE = re.compile(r"start time (?=(\d+\.*\d*))\1, end time \d")
_CLOCK = re.compile(_NUMBER + r":(\d+\.*\d*)")
_LONE_NUMBER = re.compile(r"\d+\.*\d*(?!\.)")

_MIN_CAPTION_LENGTH = 6  # characters, before blanks are stripped
_MIN_PIECE_LENGTH = 8
_RADIUS_S = 20
"""Half the length of the window that stands for a single moment."""
MAX_LENGTH = 50_000
"""Characters that are read of an answer; 512 tokens, the published limit, make about 2,500."""


@dataclass(frozen=True, slots=True)
class DenseCaptions:
    """Moments in the order written, start <= end, and as many captions."""

    segments: tuple[Segment, ...]
    captions: tuple[str, ...]


def read_dense_captions(text: str) -> DenseCaptions | None:
    """The moments and captions of an answer (the inside of an answer block); None when it tells none.

    Ranges and labelled times are read from the lower-cased text, which gives lower-case captions; the last resort reads
    the text as written. Of a text longer than MAX_LENGTH only that much is read.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, dvc_format.
    """
    text = text[:MAX_LENGTH]
    try:
        times, captions = _read_listed(text.lower())
    except ValueError:  # a number like 5..15, or times in a form that the published reader stumbles over
        return None
    if not times:
        first = _first_timed_piece(text)
        if first is None:
            return None
        times, captions = [first[0]], [first[1]]
    return DenseCaptions(tuple(Segment(min(pair), max(pair)) for pair in times), tuple(captions))


def _read_listed(text: str) -> tuple[list[tuple[float, float]], list[str]]:
    """Times and captions of a list, cut to the shorter of the two; empty where there is no list."""
    ranges = list(_RANGE.finditer(text))
    if ranges:
        times = [(float(found[1]), float(found[2])) for found in ranges]
        chunks = _captions_between(text, ranges)
    else:
        times = [(float(a), float(b)) for a, b in zip(_START.findall(text), _END.findall(text), strict=False)]
        if not times and _UNUSABLE.search(text):
            raise ValueError("`start time a, end time b` without colons is found and then refused")
        chunks = (_DESCRIPTION.findall(text) or _BULLET.findall(text)) if times else []
    captions = [chunk.strip().strip(", ").rstrip() for chunk in chunks if len(chunk) >= _MIN_CAPTION_LENGTH]
    num_kept = min(len(times), len(captions))
    return times[:num_kept], captions[:num_kept]


def _captions_between(text: str, ranges: Sequence[re.Match]) -> list[str]:
    """What remains when ranges and the word "seconds" are taken out, split at the ranges and at newlines.

    A range is taken out wherever its characters occur, so "1 - 2" also goes from the middle of "11 - 20".
    """
    for found in ranges:
        text = text.replace(found[0], "\n")
    return text.replace("seconds", "").split("\n")


def _first_timed_piece(text: str) -> tuple[tuple[float, float], str] | None:
    """Time and caption of the first line (or sentence, where there is one line only) that tells a time."""
    if "\n" in text:
        pieces = [line for line in text.split("\n") if len(line) >= _MIN_PIECE_LENGTH]
    else:
        pieces = [f"{sentence}." for sentence in text.split(".") if len(sentence) >= _MIN_PIECE_LENGTH]
    for piece in pieces:
        parts = [part.strip(",") for part in piece.split("seconds")]
        try:
            time = _read_time(parts[0])
        except ValueError:
            continue
        if time is not None:
            return (round(time[0], 2), round(time[1], 2)), parts[-1].strip()
    return None


def _read_time(text: str) -> tuple[float, float] | None:
    """A range; one or two times as mm:ss; one or two numbers. A single time becomes a window."""
    found = _RANGE.search(text)
    if found:
        return float(found[1]), float(found[2])
    num_colons = text.count(":")
    if num_colons in (1, 2):  # then plain numbers do not count
        clocks = [int(minutes) * 60 + int(seconds) for minutes, seconds in _CLOCK.findall(text)]
        times = [float(str(clock)) for clock in clocks]  # float() of a whole number raises where its text is infinite
        if len(times) != num_colons:
            return None
    else:
        times = [float(number) for number in _LONE_NUMBER.findall(text)]
    if len(times) == 2:
        return times[0], times[1]
    return _window(times[0]) if len(times) == 1 else None


def _window(time_s: float) -> tuple[float, float]:
    """40 seconds around a moment; 40 seconds from it on where it lies in the first 20.

    The published reader writes the start down and reads it again up to a minus sign: 1e-05 is no number (ValueError).
    """
    is_late = time_s > _RADIUS_S
    start_s, end_s = (time_s - _RADIUS_S, time_s + _RADIUS_S) if is_late else (time_s, time_s + 2 * _RADIUS_S)
    return float(str(start_s).split("-")[0]), end_s
