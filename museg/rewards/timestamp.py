"""Does the reasoning cite the times that the answer gives?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward
from museg.temporal.segments import Segment

MAX_SEARCHED_CHARS = 10**8
"""Reasoning length times number of times: beyond it the answer counts as not cited, unsearched. A response of thousands
of tokens stays a hundred times below; a text made to keep the search busy for hours does not.
"""


@dataclass(frozen=True)
class TimestampReward(Reward):
    """-`penalty` for a well-formed response whose reasoning does not cite every boundary of the answer, else 0.

    Added to the format reward this gives the released ladder of stage 1: 0, 0.2, 0.6, 1. A malformed response is not
    charged: format has done that.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, the format reward of stage 1 (its 0.6 is 1 - 0.4).
    """

    penalty: float = 0.4

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        return -self.penalty if response.is_well_formed and not cites_every_boundary(response) else 0.0


@dataclass(frozen=True)
class CitationReward(Reward):
    """1 for a well-formed response that names at least one time and cites all of them in its reasoning, else 0.

    The timestamp reward as a term of its own, as the paper (arXiv 2505.20715, reward design) tells it; what counts as
    cited is the released rule, because the paper gives none. An empty answer cites nothing and earns nothing.
    """

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        has_times = response.is_well_formed and bool(response.boundaries_s)
        return 1.0 if has_times and cites_every_boundary(response) else 0.0


def cites_every_boundary(response: ParsedResponse, max_citations: int = 10) -> bool:
    """True when each boundary of the answer occurs 1 to `max_citations` times in the reasoning; also when there is
    none.

    A boundary is looked for as str(float) used as a regular expression, counted without overlaps, as the release does
    it: "12.50" in the answer asks for 12.5; the point matches any character, so 1200 cites 12.0 and so does 12:0; parts
    of longer numbers count, so 12.03 cites 2.0; the plus of "1e+16" repeats the e. "13" or "13 s" does not cite 13.0. A
    float prints only digits, point, e, sign, inf or nan, so each pattern compiles and matches in one pass.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, the format reward of stage 1.
    """
    times = {str(boundary_s) for boundary_s in response.boundaries_s or ()}
    reasoning = response.reasoning or ""
    if len(times) * len(reasoning) > MAX_SEARCHED_CHARS:
        return False
    return all(1 <= _count(time, reasoning, max_citations + 1) <= max_citations for time in times)


def _count(time: str, text: str, limit: int) -> int:
    """Matches of a printed float, read as a regular expression, counted up to `limit`.

    One with a point and no exponent has a fixed length and nothing to repeat: its digits are looked for as they stand,
    several times faster than by a pattern that would have to be compiled for each new time.
    """
    whole, point, decimals = time.partition(".")
    if not point or not decimals.isdigit():
        return sum(1 for _ in islice(re.finditer(time, text, re.DOTALL), limit))
    count, start, skip = 0, text.find(whole), len(whole) + 1
    while start >= 0 and count < limit:
        is_match = text.startswith(decimals, start + skip)
        count += is_match
        start = text.find(whole, start + (skip + len(decimals) if is_match else 1))
    return count
