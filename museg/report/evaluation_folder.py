"""An evaluation folder as typed values: everything its page shows passes through here. Every file may be missing."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museg.report.run_folder import Prediction, QuarantinedClip, read_quarantine, read_segments
from museg.report.tolerant import Defects, mapping, number, read_json, read_jsonl, text_of
from museg.temporal.segments import Segment

MAX_SAMPLES = 200_000
SECTIONS = {
    "official": "as the published script computes it",
    "corrected": "the official rule without its known defects, under names of its own",
    "field": "as grounding papers report it, the same for every benchmark",
}
"""The sections of scores, in the order shown, with what tells them apart."""


@dataclass(frozen=True)
class SampleRecord:
    """One answered question of a benchmark."""

    sample_id: str
    task: str
    source: str
    video: str
    question: str
    targets: tuple[Segment, ...]
    duration_s: float | None
    answer: str
    segments: tuple[Segment, ...] | None
    num_segments: int
    """Of the whole answer; `segments` may hold fewer."""
    failure: str
    """Kind of failure; empty for an answer that could be read."""
    iou: float | None
    values: Mapping[str, Mapping[str, float | None]]
    """section -> column -> this sample's number."""

    @property
    def score(self) -> float | None:
        """The number samples are ranked by: the IoU, or for answers that are no time the first official column."""
        if self.iou is not None:
            return self.iou
        return next(iter(self.values.get("official", {}).values()), None)

    def as_prediction(self) -> Prediction:
        """The sample as the timelines of a run draw it."""
        return Prediction(
            example_id=self.sample_id,
            video=self.video,
            query=self.question,
            targets=self.targets,
            duration_s=self.duration_s,
            text=self.answer,
            segments=self.segments,
            fault=self.failure,
            iou=self.score,
        )


@dataclass(frozen=True)
class EvaluationRecord:
    """Everything of an evaluation folder that its page uses."""

    folder: Path
    identity: Mapping[str, Any]
    """Content of `evaluation.json`."""
    metrics: Mapping[str, Any]
    """Content of `metrics.json`; empty where the evaluation is not finished."""
    samples: tuple[SampleRecord, ...]
    totals: tuple[float, ...]
    """Rewards of scored completions, in the order of their file."""
    quarantine: tuple[QuarantinedClip, ...]
    defects: Defects


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Read an evaluation folder; missing files give empty parts, damaged ones are counted in `defects`.

    Raises:
        ValueError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise ValueError(f"evaluation folder {str(folder)!r} is not a folder; give the folder that holds metrics.json")
    defects = Defects()
    return EvaluationRecord(
        folder=folder,
        identity=read_json(folder / "evaluation.json", defects) or {},
        metrics=read_json(folder / "metrics.json", defects) or {},
        samples=read_samples(folder / "samples.jsonl", defects),
        totals=_totals(folder / "scores.jsonl", defects),
        quarantine=read_quarantine(folder / "quarantine.jsonl", defects),
        defects=defects,
    )


def read_samples(path: Path, defects: Defects) -> tuple[SampleRecord, ...]:
    """The samples of a `samples.jsonl`, in the order of the file."""
    samples = []
    for row in read_jsonl(path, defects):
        if len(samples) == MAX_SAMPLES:
            defects.add(path.name, "sample beyond the most that are read")
            continue
        samples.append(_sample(row, path.name, defects))
    return tuple(samples)


def _sample(row: Mapping[str, Any], file: str, defects: Defects) -> SampleRecord:
    segments = row.get("segments")
    read = None if segments is None else read_segments(segments, file, defects)
    return SampleRecord(
        sample_id=text_of(row.get("id")),
        task=text_of(row.get("task")),
        source=text_of(row.get("source")),
        video=text_of(row.get("video")),
        question=text_of(row.get("question")),
        targets=read_segments(row.get("targets"), file, defects),
        duration_s=number(row.get("duration_s")),
        answer=text_of(row.get("answer")),
        segments=read,
        num_segments=int(number(row.get("num_segments")) or len(read or ())),
        failure=text_of(row.get("failure")),
        iou=number(row.get("iou")),
        values={section: numbers(columns) for section, columns in mapping(row.get("values")).items()},
    )


def numbers(value: Any) -> dict[str, float | None]:
    """The entries of a mapping as numbers, None where they are none."""
    return {name: number(item) for name, item in mapping(value).items()}


def _totals(path: Path, defects: Defects) -> tuple[float, ...]:
    totals = (number(row.get("total")) for row in read_jsonl(path, defects))
    return tuple(total for total in totals if total is not None)
