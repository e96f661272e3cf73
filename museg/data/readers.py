"""Annotation files in the released schema: one JSON object a line with idx, problem, solution, video, task, duration.

What cannot be used at all is reported for the whole file at once; what the released recipe trained on in spite of a
fault is kept and counted.
"""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from museg.data.examples import GroundingExample
from museg.temporal.segments import Segment

TASKS = ("tvg", "tal")

MOST_ERRORS_SHOWN = 20


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used: its line number, counted from 1, and the rule it breaks."""

    line: int
    rule: str


@dataclass(frozen=True)
class ReadReport:
    """The examples of a file in file order, and the faults they were kept with."""

    examples: tuple[GroundingExample, ...]
    kept_faults: Mapping[str, int]
    """Fault name (see FAULTS) to the number of examples that have it; absent where there are none."""


def _overlaps(example: GroundingExample) -> bool:
    ordered = sorted(s for s in example.targets if s.start_s < s.end_s)
    return any(second.start_s < first.end_s for first, second in pairwise(ordered))


def _ends_past_duration(example: GroundingExample) -> bool:
    return example.duration_s is not None and any(s.end_s > example.duration_s for s in example.targets)


FAULTS: dict[str, Callable[[GroundingExample], bool]] = {
    "zero_length_segment": lambda example: any(s.start_s == s.end_s for s in example.targets),
    "reversed_segment": lambda example: any(s.start_s > s.end_s for s in example.targets),
    "ends_past_duration": _ends_past_duration,
    "overlapping_segments": _overlaps,
    "unsorted_segments": lambda example: list(example.targets) != sorted(example.targets),
    "tvg_with_several_segments": lambda example: example.task == "tvg" and len(example.targets) > 1,
}
"""Faults with which an example is still trained on, by name. Segments that only touch do not overlap."""


def read_museg_jsonl(path: Path) -> ReadReport:
    """Read an annotation file. Blank lines are passed over.

    Raises one ValueError that lists all unusable rows, also those of a repeated idx, by line number and rule, or says
    that there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"annotation file {path} does not exist")
    examples, bad = [], []
    line_of_id: dict[str, int] = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            example = _example(_row(line), path.stem)
            if example.example_id in line_of_id:
                raise ValueError(f"idx repeats that of line {line_of_id[example.example_id]}")
        except ValueError as error:
            bad.append(BadRow(number, str(error)))
        else:
            line_of_id[example.example_id] = number
            examples.append(example)
    if bad:
        raise ValueError(_bad_rows_message(path, bad))
    faults = Counter(name for example in examples for name, has in FAULTS.items() if has(example))
    return ReadReport(tuple(examples), dict(faults))


def _row(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 (byte {error.start + 1})") from error
    try:
        row = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"is not a JSON object but {type(row).__name__}")
    return row


def _example(row: Mapping[str, Any], stem: str) -> GroundingExample:
    if missing := [key for key in ("idx", "problem", "solution", "video", "task") if key not in row]:
        raise ValueError(f"lacks {', '.join(missing)}")
    if isinstance(row["idx"], bool) or not isinstance(row["idx"], (int, str)):
        raise ValueError(f"idx must be a whole number or a text, not {row['idx']!r}")
    if row["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {row['task']!r}")
    duration = row.get("duration")
    return GroundingExample(
        example_id=f"{stem}:{row['idx']}",
        video=_video(row["video"]),
        query=_text(row, "problem"),
        targets=_segments(row["solution"]),
        duration_s=None if duration is None else _seconds(duration, "duration"),
        task=row["task"],
        source=_source(row["video"]),
    )


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} must be a text that is not blank, not {value!r}")
    return value


def _video(value: Any) -> str:
    path = PurePosixPath(value) if isinstance(value, str) else PurePosixPath()
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in value:
        raise ValueError(f"video must be a path below the video root, not {value!r}")
    return value


def _source(video: str) -> str:
    """The collection a clip belongs to: the folder it lies in, such as charades or hacs."""
    folder = PurePosixPath(video).parent.name
    return "unknown" if folder in ("", "videos") else folder


def _segments(value: Any) -> tuple[Segment, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"solution must be a list of [start, end] with at least one, not {_short(value)}")
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise ValueError(f"solution must hold [start, end] pairs only, not {_short(value)}")
    return tuple(Segment(_seconds(start, "solution"), _seconds(end, "solution")) for start, end in value)


def _seconds(value: Any, key: str) -> float:
    """A time as float, also where the annotation writes a whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{key} must hold seconds, not {_short(value)}")
    try:
        seconds = float(value)
    except OverflowError:
        seconds = math.inf
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{key} must hold finite seconds from 0, not {_short(value)}")
    return seconds


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bad_rows_message(path: Path, bad: list[BadRow]) -> str:
    shown = [f"  line {row.line}: {row.rule}" for row in bad[:MOST_ERRORS_SHOWN]]
    if len(bad) > MOST_ERRORS_SHOWN:
        shown.append(f"  and {len(bad) - MOST_ERRORS_SHOWN} more")
    return "\n".join([f"{path}: {len(bad)} row(s) cannot be used; correct or remove them:", *shown])
