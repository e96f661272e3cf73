"""What was found, as the answers that the tasks of E.T. Bench ask for, written so that its published readers read them.

Texts are "" where nothing was found, which counts as a failed answer. Times have three decimals.
"""

import re
from collections.abc import Sequence

from museg.meco.localization import Run, ScoredSegment
from museg.meco.structure import StructuralToken
from museg.temporal.segments import Segment

_DASH_BETWEEN_NUMBERS = re.compile(r"(?<=[\d.])\s*-\s*(?=\d)")
_SHORTEST_CAPTION = 4
"""Characters; with the comma and blank before it, one more than what the published reader overlooks."""


def highlight_time_s(found: Sequence[ScoredSegment], seconds_per_step: float) -> float | None:
    """The middle of the most similar step of the best run (vhd asks for a moment); None without a run."""
    return (found[0].run.peak_step + 0.5) * seconds_per_step if found else None


def released_highlight_time_s(
    found: Sequence[ScoredSegment], runs: Sequence[Sequence[Run]], seconds_per_step: float
) -> float | None:
    """As the released tool has it: the best run's start, moved by where the peak of the first run in time order lies.

    `runs` as `locate` gives them. The two need not be the same run.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, vhd_eval, where the scores of runs are not sorted with them.
    """
    if not found:
        return None
    first = next(run for of_token in runs for run in of_token)
    return (found[0].run.first_step + first.peak_step - first.first_step) * seconds_per_step


def captioned(found: Sequence[ScoredSegment], tokens: Sequence[StructuralToken]) -> list[tuple[Segment, str]]:
    """Every segment with the caption of its token (dvc and slc); `tokens` as `read_structure` gives them.

    A caption is "" where a text holds fewer tokens than rows were found for.
    """
    captions = dict(enumerate(token.caption for token in tokens))
    return [(scored.segment, captions.get(scored.row, "")) for scored in found]


def ranges_text(segments: Sequence[Segment]) -> str:
    """Segments in the order given (tal, evs); tasks that ask for one (tvg, epm, tem) take the first."""
    return ", ".join(map(_range, segments))


def moment_text(time_s: float | None) -> str:
    """A moment (vhd)."""
    return "" if time_s is None else f"{time_s:.3f}"


def captions_text(moments: Sequence[tuple[Segment, str]]) -> str:
    """Segments with a caption each (dvc, slc), one a line.

    A caption becomes one line without what the published reader takes for a range or takes out ("3 - 4", "seconds", a
    dash before the next line), and is filled up with blanks where it would be too short for it.
    """
    return "\n".join(f"{_range(segment)}, {_plain(caption):<{_SHORTEST_CAPTION}}" for segment, caption in moments)


def option_text(place: int | None, options: Sequence[str]) -> str:
    """An option by its place (eca)."""
    return "" if place is None else f"({chr(ord('A') + place)}) {options[place]}"


def grounded_option_text(letter: str | None, words: str, segments: Sequence[Segment]) -> str:
    """An option and where it is seen (gvq); without a letter the words stand for the option, behind the segments."""
    found = ranges_text(segments)
    parts = [f"({letter.upper()})", found] if letter else [found, words.strip()]
    return " ".join(filter(None, parts))


def _range(segment: Segment) -> str:
    return f"{segment[0]:.3f} - {segment[1]:.3f}"


def _plain(caption: str) -> str:
    one_line = " ".join(caption.split()).rstrip("- ")
    return re.sub("seconds", "s", _DASH_BETWEEN_NUMBERS.sub(" to ", one_line), flags=re.IGNORECASE)
