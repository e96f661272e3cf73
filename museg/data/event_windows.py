"""Where the events of an annotated E.T. Instruct sample lie, by its task."""

import math
from collections.abc import Sequence
from itertools import pairwise

from museg.temporal.segments import Segment

PAIRED_TARGET_TASKS = ("tvg", "tal", "evs", "gvq", "slc", "dvc", "epm")
"""Tasks whose `tgt` is a flat list of starts and ends."""
TASKS = (*PAIRED_TARGET_TASKS, "rvc", "vhd", "tvc")
HIGHLIGHT_S = 2.0
"""Length of the event that stands for a highlight, which is annotated as a moment."""
LAST_EVENT_MARGIN_S = 1.0
"""The last event of tvc ends this long before the video does, and lasts at least as long."""


def event_segments(
    task: str, tgt: Sequence[float] | None, src: Sequence[float] | None, duration_s: float | None
) -> tuple[Segment, ...]:
    """The events of a sample in seconds, in the order annotated: `tgt` are its output, `src` its input timestamps.

    Most tasks pair up `tgt`, rvc pairs up `src`; a time t of vhd is the event from t to t + 2; the times of tvc are
    boundaries, the last event ending near the end of the video, which only this task needs to know. Raises ValueError
    for a task without such a rule, for missing or odd timestamps and for ones that are no finite numbers.

    Source: pangzss/MeCo d3ed11b, meco/train/train.py, MultimodalDataset.
    """
    if task not in TASKS:
        raise ValueError(f"no rule finds the events of task {task!r}; give its windows, or one of {', '.join(TASKS)}")
    if task == "rvc":
        return _paired(_times(task, "src", src), task, "src")
    times_s = _times(task, "tgt", tgt)
    if task == "vhd":
        return tuple(Segment(time_s, time_s + HIGHLIGHT_S) for time_s in times_s)
    if task == "tvc":
        if duration_s is None or not math.isfinite(duration_s):
            raise ValueError(f"the last event of a tvc sample needs the video's length in seconds, got {duration_s}")
        end_s = max(duration_s - LAST_EVENT_MARGIN_S, times_s[-1] + LAST_EVENT_MARGIN_S)
        return tuple(Segment(*pair) for pair in pairwise((*times_s, end_s)))
    return _paired(times_s, task, "tgt")


def _paired(times_s: tuple[float, ...], task: str, field: str) -> tuple[Segment, ...]:
    if len(times_s) % 2:
        raise ValueError(f"{field} of a {task} sample holds starts and ends in turn, got {len(times_s)} numbers")
    return tuple(Segment(*pair) for pair in zip(times_s[::2], times_s[1::2], strict=True))


def _times(task: str, field: str, values: Sequence[float] | None) -> tuple[float, ...]:
    """`values` as floats; ValueError unless they are a flat list of at least one finite number."""
    is_list = isinstance(values, Sequence) and not isinstance(values, str) and len(values) > 0
    if not is_list or not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise ValueError(f"{field} of a {task} sample must be a flat list of seconds with at least one, got {values!r}")
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{field} of a {task} sample must hold finite seconds, got {values!r}")
    return tuple(map(float, values))
