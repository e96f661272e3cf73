"""Annotation files in the released schema: one JSON object a line with idx, problem, solution, video, task, duration,
and, of our own, captions.

What cannot be used at all is reported for the whole file at once; what the released recipe trained on in spite of a
fault is kept and counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.examples import GroundingExample
from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.dialogue.prompts import without_markers

TASKS = ("tvg", "tal")


@dataclass(frozen=True)
class ReadReport:
    """The examples of a file in file order, and the faults they were kept with."""

    examples: tuple[GroundingExample, ...]
    kept_faults: Mapping[str, int]
    """Fault name (see FAULTS) to the number of examples that have it; absent where there are none."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Why rows that hold nothing to learn from were passed over, to their number."""


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
    examples, bad = [], FileFaults(path)
    line_of_id: dict[str, int] = {}
    for number, line in numbered_lines(path):
        with bad.at(f"line {number}"):
            example = _example(json_object(line), path.stem)
            if example.example_id in line_of_id:
                raise ValueError(f"idx repeats that of line {line_of_id[example.example_id]}")
            line_of_id[example.example_id] = number
            examples.append(example)
    bad.raise_if_any()
    return report_of(examples)


def report_of(examples: Sequence[GroundingExample], left_out: Mapping[str, int] | None = None) -> ReadReport:
    """The report of a file with these examples, their faults counted."""
    faults = Counter(name for example in examples for name, has in FAULTS.items() if has(example))
    return ReadReport(tuple(examples), dict(faults), dict(left_out or {}))


def _example(row: Mapping[str, Any], stem: str) -> GroundingExample:
    row_fields.need(row, "idx", "problem", "solution", "video", "task")
    if isinstance(row["idx"], bool) or not isinstance(row["idx"], (int, str)):
        raise ValueError(f"idx must be a whole number or a text, not {row_fields.short(row['idx'])}")
    if row["task"] not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, not {row_fields.short(row['task'])}")
    video = row_fields.video_path(row["video"])
    targets = row_fields.segments(row["solution"], "solution")
    return GroundingExample(
        example_id=f"{stem}:{row['idx']}",
        video=video,
        query=row_fields.text(row, "problem"),
        targets=targets,
        duration_s=row_fields.duration(row),
        task=row["task"],
        source=row_fields.source_of(video),
        captions=_captions(row, len(targets)),
    )


def _captions(row: Mapping[str, Any], num_targets: int) -> tuple[str, ...]:
    """What happens in each segment, where the row says (absent and null are the same)."""
    captions = row.get("captions")
    if captions is None:
        return ()
    if not isinstance(captions, list) or len(captions) != num_targets:
        raise ValueError(f"captions must be a list with a text for each segment, not {row_fields.short(captions)}")
    return tuple(without_markers(row_fields.text({"captions": caption}, "captions")) for caption in captions)
