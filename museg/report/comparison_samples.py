"""The questions of compared runs with everybody's answers, as data that a script on the page draws from."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from museg.report.evaluation_folder import SampleRecord, read_samples
from museg.report.timelines import MAX_AXIS_S
from museg.report.tolerant import Defects, clip, listed, mapping, text_of
from museg.temporal.segments import Segment

MAX_TEXT_CHARS = 500
MAX_ID_CHARS = 120
MAX_DRAWN_SEGMENTS = 120
MAX_SAMPLES = 40_000
"""Samples put on one page; a benchmark of the field has at most half as many."""


def sample_data(comparison: Mapping[str, Any], root: Path, defects: Defects) -> list[dict[str, Any]]:
    """Every question that at least one run's folder holds, in the order of the comparison's benchmarks.

    `root` is the folder that relative folders of runs start from. Keys are short because the page holds thousands:
    `b`enchmark, `i`d, `t`ask, `v`ideo, `q`uestion, true seconds `g`, a`x`is length in seconds, and the runs' answers
    `a`, each with score `s`, whether that is an `u`nion score (IoU), `f`ailure, predicted seconds `p`, their number
    `n`, and the `w`ords.
    """
    runs = [mapping(mapping(run).get("folders")) for run in listed(comparison.get("runs"))]
    data: list[dict[str, Any]] = []
    for benchmark in dict.fromkeys(name for folders in runs for name in folders):
        folders = [text_of(folders.get(benchmark)) for folders in runs]
        answers = [_by_id(root / folder, defects) if folder else {} for folder in folders]
        for sample_id in dict.fromkeys(sample_id for found in answers for sample_id in found):
            if len(data) == MAX_SAMPLES:
                defects.add("samples.jsonl", "question beyond the most that a page holds")
                continue
            data.append(_entry(benchmark, [found.get(sample_id) for found in answers]))
    return data


def _by_id(folder: Path, defects: Defects) -> dict[str, SampleRecord]:
    if not (folder / "samples.jsonl").is_file():
        defects.add("samples.jsonl", f"run without samples ({clip(str(folder), 200)})")
    return {sample.sample_id: sample for sample in read_samples(folder / "samples.jsonl", defects)}


def _entry(benchmark: str, answers: Sequence[SampleRecord | None]) -> dict[str, Any]:
    sample = next(answer for answer in answers if answer is not None)
    task = sample.task if not sample.source or sample.source == benchmark else f"{sample.task}/{sample.source}"
    return {
        "b": clip(benchmark, 60),
        "i": clip(sample.sample_id, MAX_ID_CHARS),
        "t": clip(task, 60),
        "v": clip(sample.video, MAX_ID_CHARS),
        "q": clip(sample.question, MAX_TEXT_CHARS),
        "g": _seconds(sample.targets),
        "x": _axis_s(sample, answers),
        "a": [None if answer is None else _answer(answer) for answer in answers],
    }


def _answer(sample: SampleRecord) -> dict[str, Any]:
    return {
        "s": None if sample.score is None else round(sample.score, 4),
        "u": sample.iou is not None,
        "f": clip(sample.failure, 40),
        "p": _seconds((sample.segments or ())[:MAX_DRAWN_SEGMENTS]),
        "n": sample.num_segments,
        "w": clip(sample.answer, MAX_TEXT_CHARS),
    }


def _seconds(segments: Sequence[Segment]) -> list[list[float]]:
    return [[round(segment.start_s, 2), round(segment.end_s, 2)] for segment in segments]


def _axis_s(sample: SampleRecord, answers: Sequence[SampleRecord | None]) -> float:
    """The clip's length, or where unknown the end of the last segment of truth and answers; at most a day."""
    ends = [segment.end_s for segment in sample.targets]
    if not sample.duration_s:
        ends += [segment.end_s for answer in answers if answer for segment in answer.segments or ()]
    length_s = max([sample.duration_s or 0.0, *ends])
    return round(min(length_s, MAX_AXIS_S), 2) if length_s > 0 else 1.0


def as_script_data(value: Any) -> str:
    """`value` as JSON that can stand in a script element: nothing in it can end the element or open another."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
