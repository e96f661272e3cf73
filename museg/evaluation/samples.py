"""What evaluation passes around: a benchmark's sample, somebody's answer to it, and what a parser read in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from museg.data.examples import GroundingExample
from museg.temporal.segments import Segment


@dataclass(frozen=True, slots=True)
class BenchmarkSample:
    """One question of a benchmark."""

    sample_id: str
    """The annotation's own id (E.T. Bench: task/source/idx; QVHighlights: qid); where it has none, the row as text."""
    row: int
    """0-based place in the annotation file."""
    task: str
    """tvg, tal, the twelve names of E.T. Bench, or mr (moment retrieval)."""
    source: str
    """The collection the clip belongs to."""
    video: str
    """Path below the video root, as the annotation writes it."""
    question: str
    targets: tuple[Segment, ...]
    """All true segments; empty where the answer is no time (a letter)."""
    duration_s: float | None
    annotation: Mapping[str, Any] = field(default_factory=dict)
    """The validated row of the annotation file, for what only its own rule reads (options, captions, saliency)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to one sample.

    `text` is the inside of the answer block, which every official parser starts from; empty where there is none.
    `fault` says why there is no text: a value of `museg.evaluation.answer_fault.AnswerFault`, or None.
    """

    text: str
    completion: str | None = None
    """The raw text where it is known."""
    fault: str | None = None
    windows: tuple[tuple[float, float, float], ...] | None = None
    """(start_s, end_s, score) of a submission that lists scored windows itself."""
    saliency: tuple[float, ...] | None = None
    """A score for each 2-second clip, of a submission that gives them."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The segments that a rule's parser found in an answer (None: it could not be read), and the kind of failure."""

    segments: tuple[Segment, ...] | None
    failure: str | None = None


def example_of(sample: BenchmarkSample, query: str) -> GroundingExample:
    """The sample, asked in those words, as the decoding and the prompts know it."""
    return GroundingExample(
        example_id=sample.sample_id,
        video=sample.video,
        query=query,
        targets=sample.targets,
        duration_s=sample.duration_s,
        task=sample.task,
        source=sample.source,
    )
