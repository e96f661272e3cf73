"""Ideal responses for supervised training, in the grammar that the strict reader accepts."""

import re
from collections.abc import Sequence

from museg.temporal.segments import Segment

_OPENING, _CLOSING = re.compile(r"(?<!\w)'"), re.compile(r"'(?!\w)")
"""Single quotes that no word goes on through: the one in "a person's hand" is neither."""


def subject_of(query: str) -> str:
    """What a query is about: the text from its first opening to its last closing single quote, else the whole query."""
    opening, closings = _OPENING.search(query), list(_CLOSING.finditer(query))
    quoted = query[opening.end() : closings[-1].start()] if opening and closings else ""
    return quoted if quoted.strip() else query


def demonstration(query: str, targets: Sequence[Segment], *, cites_times: bool, decimals: int = 1) -> str:
    """A response that states `targets` exactly as the training rewards want them.

    cites_times: name every boundary in the reasoning as it stands in the answer (full timestamp reward), or only say
    what is looked for.
    decimals: digits behind the point, at least 1: the timestamp reward looks for str(float), "14.0" and never "14".

    A segment that this rounding would empty keeps all its digits. Angle brackets of the query are left out, so that it
    cannot close a block.

    Raises ValueError for fewer than one decimal.
    """
    if decimals < 1:
        raise ValueError(f"decimals must be at least 1 (a time without a point is never cited), given {decimals}")
    subject = subject_of(query).translate({ord("<"): None, ord(">"): None})
    times = [_written(segment, decimals) for segment in targets]
    if cites_times:
        spans = " and ".join(f"{start} to {end}" for start, end in times)
        reasoning = f"{subject} from {spans}" if times else f"{subject} never"
    else:
        reasoning = f"look for the {subject}"
    answer = " ".join(f"{start}-{end}" for start, end in times)
    return f"<think>{reasoning}</think><answer>{answer}</answer>"


def _written(segment: Segment, decimals: int) -> tuple[str, str]:
    start, end = (f"{boundary_s:.{decimals}f}" for boundary_s in segment)
    if start == end and segment.start_s < segment.end_s:
        return repr(float(segment.start_s)), repr(float(segment.end_s))
    return start, end
