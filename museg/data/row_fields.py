"""Fields of annotation rows: each function returns the meant value, or raises ValueError with the broken rule."""

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from museg.temporal.segments import Segment


def need(row: Mapping[str, Any], *keys: str) -> None:
    """ValueError naming those of `keys` that the row lacks."""
    if missing := [key for key in keys if key not in row]:
        raise ValueError(f"lacks {', '.join(missing)}")


def text(row: Mapping[str, Any], key: str) -> str:
    """A text that is not blank."""
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be a text that is not blank, not {short(value)}")
    return value


def whole_number(value: Any, key: str) -> int:
    """A whole number from 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{key} must be a whole number from 0, not {short(value)}")
    return value


def video_path(value: Any, key: str = "video") -> str:
    """A path that stays below the video root, as written."""
    path = PurePosixPath(value) if isinstance(value, str) else PurePosixPath()
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError(f"{key} must be a path below the video root, not {short(value)}")
    return value


def source_of(video: str) -> str:
    """The collection a clip belongs to: the folder it lies in, such as charades or hacs."""
    folder = PurePosixPath(video).parent.name
    return "unknown" if folder in ("", "videos") else folder


def segments(value: Any, key: str) -> tuple[Segment, ...]:
    """A list of [start, end] with at least one, in the order written; faults such as a reversed pair are kept."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key} must be a list of [start, end] with at least one, not {short(value)}")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise ValueError(f"{key} must hold [start, end] pairs only, not {short(value)}")
    return tuple(Segment(seconds(start, key), seconds(end, key)) for start, end in value)


def seconds(value: Any, key: str) -> float:
    """A time as float, also where the annotation writes a whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} must hold seconds, not {short(value)}")
    try:
        time_s = float(value)
    except OverflowError:
        time_s = math.inf
    if not (math.isfinite(time_s) and time_s >= 0):
        raise ValueError(f"{key} must hold finite seconds from 0, not {short(value)}")
    return time_s


def duration(row: Mapping[str, Any]) -> float | None:
    """The length of the clip where the row states one (absent and null are the same)."""
    value = row.get("duration")
    return None if value is None else seconds(value, "duration")


def short(value: Any) -> str:
    """`value` as a message shows it: its first 80 characters."""
    written = repr(value[:80] if isinstance(value, (str, list)) else value)
    return written if len(written) <= 80 else f"{written[:77]}..."
