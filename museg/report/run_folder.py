"""A run folder as typed values: everything the report shows passes through here.

Every file may be missing. Files are read once, line by line; of long completion logs only an even selection is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from museg.report.metrics_table import Metrics, read_metrics
from museg.report.tolerant import (
    Defects,
    listed,
    mapping,
    number,
    read_json,
    read_jsonl,
    read_yaml,
    text_of,
    visible,
)
from museg.temporal.segments import Segment

MAX_PROMPTS_PER_STEP = 3
MAX_COMPLETION_STEPS = 200
MAX_SEGMENTS = 200
"""Segments kept of one answer: more cannot be drawn, and a hostile answer may hold a million."""
MAX_QUARANTINE_ROWS = 5_000


@dataclass(frozen=True)
class Prediction:
    """One held-out answer of one stage under one decoding mode."""

    example_id: str
    video: str
    query: str
    targets: tuple[Segment, ...]
    duration_s: float | None
    text: str
    segments: tuple[Segment, ...] | None
    fault: str
    iou: float | None


@dataclass(frozen=True)
class Completion:
    """One sampled training completion."""

    step: int
    phase: str
    example_id: str
    query: str
    targets: tuple[Segment, ...]
    text: str
    reward: float | None
    terms: Mapping[str, float | None]


@dataclass(frozen=True)
class QuarantinedClip:
    """A clip that could not be read, and why."""

    video: str
    example_ids: tuple[str, ...]
    reasons: tuple[str, ...]
    step: int | None


@dataclass(frozen=True)
class RunRecord:
    """Everything of a run folder that the report uses."""

    run_dir: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any] | None
    metrics: Metrics
    predictions: Mapping[str, Mapping[str, Mapping[str, Prediction]]]
    """stage -> mode -> example id -> prediction; stages in file order, examples in the order of the file."""
    completions: Mapping[int, tuple[Completion, ...]]
    """step -> of each of its first prompts the completion with the highest and with the lowest reward; an even
    selection of steps when there are many."""
    num_completions: int
    quarantine: tuple[QuarantinedClip, ...]
    defects: Defects

    @property
    def held_out(self) -> dict[str, dict[str, Any]]:
        """Stage -> mode -> scores, from the summary, where a stage's greedy scores hold those of `sampled` answers."""
        scored = mapping((self.summary or {}).get("held_out"))
        return {
            stage: {"greedy": mapping(scores), "sampled": mapping(mapping(scores).get("sampled"))}
            for stage, scores in scored.items()
        }


def read_run(run_dir: Path) -> RunRecord:
    """Read a run folder; missing files give empty parts, damaged ones are counted in `defects`.

    Raises:
        ValueError: `run_dir` is no folder.
    """
    if not run_dir.is_dir():
        raise ValueError(f"run folder {str(run_dir)!r} is not a folder; give the folder that holds metrics.csv")
    defects = Defects()
    stages = sorted(run_dir.glob("predictions/*.jsonl"))
    completions, num_completions = _completions(run_dir / "completions.jsonl", defects)
    return RunRecord(
        run_dir=run_dir,
        config=read_yaml(run_dir / "config.yaml", defects),
        summary=read_json(run_dir / "summary.json", defects),
        metrics=read_metrics(run_dir / "metrics.csv", defects),
        predictions={visible(file.stem): _predictions(file, defects) for file in stages},
        completions=completions,
        num_completions=num_completions,
        quarantine=read_quarantine(run_dir / "quarantine.jsonl", defects),
        defects=defects,
    )


def _predictions(path: Path, defects: Defects) -> dict[str, dict[str, Prediction]]:
    modes: dict[str, dict[str, Prediction]] = {}
    for row in read_jsonl(path, defects):
        segments = row.get("segments")
        prediction = Prediction(
            example_id=text_of(row.get("example_id")),
            video=text_of(row.get("video")),
            query=text_of(row.get("query")),
            targets=read_segments(row.get("targets"), path.name, defects),
            duration_s=number(row.get("duration_s")),
            text=text_of(row.get("text")),
            segments=None if segments is None else read_segments(segments, path.name, defects),
            fault=text_of(row.get("fault")),
            iou=number(row.get("iou")),
        )
        modes.setdefault(text_of(row.get("mode")), {})[prediction.example_id] = prediction
    return modes


def read_segments(value: Any, file: str, defects: Defects) -> tuple[Segment, ...]:
    """The pairs of numbers in a list of a file as segments, at most `MAX_SEGMENTS`; what is none is counted."""
    segments = []
    pairs = value if isinstance(value, list) else []
    for pair in pairs[:MAX_SEGMENTS]:
        ends = [number(end) for end in pair] if isinstance(pair, list) else []
        if len(ends) == 2 and None not in ends:
            segments.append(Segment(*ends))
        else:
            defects.add(file, "segment that is no pair of numbers")
    if len(pairs) > MAX_SEGMENTS:
        defects.add(file, f"answer of more than {MAX_SEGMENTS} segments (the first ones are used)")
    return tuple(segments)


def _completions(path: Path, defects: Defects) -> tuple[dict[int, tuple[Completion, ...]], int]:
    steps: dict[int, dict[str, list[Completion]]] = {}
    num_rows = 0
    for row in read_jsonl(path, defects):
        step = number(row.get("step"))
        if step is None:
            defects.add(path.name, "completion without a step")
            continue
        num_rows += 1
        completion = _completion(int(step), row, path.name, defects)
        prompts = steps.setdefault(completion.step, {})
        if completion.example_id in prompts or len(prompts) < MAX_PROMPTS_PER_STEP:
            prompts[completion.example_id] = _extremes([*prompts.get(completion.example_id, []), completion])
        if len(steps) > 2 * MAX_COMPLETION_STEPS:
            steps = {step: steps[step] for step in sorted(steps)[::2]}
    return {step: tuple(chain.from_iterable(steps[step].values())) for step in sorted(steps)}, num_rows


def _extremes(completions: list[Completion]) -> list[Completion]:
    """The completion with the highest and the one with the lowest reward; a lone one stays alone."""
    ranked = sorted(completions, key=lambda completion: -np.inf if completion.reward is None else completion.reward)
    return [ranked[-1], ranked[0]] if len(ranked) > 1 else ranked


def _completion(step: int, row: Mapping[str, Any], file: str, defects: Defects) -> Completion:
    return Completion(
        step=step,
        phase=text_of(row.get("phase")),
        example_id=text_of(row.get("example_id")),
        query=text_of(row.get("query")),
        targets=read_segments(row.get("targets"), file, defects),
        text=text_of(row.get("text")),
        reward=number(row.get("reward")),
        terms={str(name): number(value) for name, value in mapping(row.get("terms")).items()},
    )


def read_quarantine(path: Path, defects: Defects) -> tuple[QuarantinedClip, ...]:
    """The clips of a `quarantine.jsonl`, the first `MAX_QUARANTINE_ROWS` of them."""
    clips = []
    for row in read_jsonl(path, defects):
        if len(clips) == MAX_QUARANTINE_ROWS:
            defects.add(path.name, "row beyond the longest list shown")
            continue
        step = number(row.get("step"))
        clips.append(
            QuarantinedClip(
                video=text_of(row.get("video")),
                example_ids=tuple(text_of(item) for item in listed(row.get("example_ids"))),
                reasons=_reasons(row.get("reasons")),
                step=None if step is None else int(step),
            )
        )
    return tuple(clips)


def _reasons(value: Any) -> tuple[str, ...]:
    if isinstance(value, Mapping):
        return tuple(f"{decoder}: {text_of(reason)}" for decoder, reason in value.items())
    return tuple(text_of(item) for item in listed(value))
