"""A video as events and transitions: the text a model learns to write, what its tokens cover, the text it wrote read.

Every event is a caption closed by `<ent>`; a stretch of background is a bare `<tst>`.

Shapes: K spans, in the order in which their tokens stand in the text; T temporal steps of the video grid, step t
covering t * seconds_per_step to (t + 1) * seconds_per_step.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from museg.dialogue.event_tokens import EVENT_TOKEN, GAP_TOKEN
from museg.temporal.segments import Segment


class Kind(str, Enum):
    """What a structural token stands for; the value is its text."""

    EVENT = EVENT_TOKEN
    TRANSITION = GAP_TOKEN


@dataclass(frozen=True, slots=True)
class Span:
    """A structural token and the time it stands for."""

    kind: Kind
    segment: Segment


@dataclass(frozen=True, slots=True)
class Structure:
    """The text of a video and its spans, in the order in which their tokens stand in the text."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class StructuralToken:
    """A structural token read in a text, with the caption it closes; a transition has none ("")."""

    kind: Kind
    caption: str


_TOKEN = re.compile("|".join(kind.value for kind in Kind))
_TIE_S = 1e-6
"""Slack of a gap: 4.1 - 2.1 is less than 2 in float64."""
_TIE_STEPS = 1e-6
"""Slack of a boundary that lies on a step: 2 s at 2/3 s a step is step 3, whatever the division gives."""


def write_structure(
    captions: Sequence[str],
    segments: Sequence[Segment],
    duration_s: float,
    *,
    head_gap_s: float = 1.0,
    gap_s: float = 2.0,
) -> Structure:
    """The text of events with these captions and times: one structural token a line, an event's after its caption.

    Events are put in the order of their times, each keeping its caption; ones that overlap are all kept. A transition
    stands where nothing happens for at least `head_gap_s` before the first event, or `gap_s` between events and before
    the end of the video at `duration_s`. Without events the whole video is one transition. Raises ValueError for
    captions and segments of different number, a caption that holds a structural token, times that are no finite
    numbers, and gaps that are not positive.

    Source: pangzss/MeCo d3ed11b, meco/train/train.py, MultimodalDataset. There events are taken in the order given, and
    the last one alone says where a gap begins, so that a transition may lie inside a longer event before it.
    """
    _check(captions, segments, duration_s, head_gap_s, gap_s)
    events = sorted((Segment(min(segment), max(segment)), index) for index, segment in enumerate(segments))
    lines, spans = [], []
    covered_s = 0.0
    for segment, index in events:
        if segment.start_s - covered_s >= (gap_s if spans else head_gap_s) - _TIE_S:
            lines.append(Kind.TRANSITION.value)
            spans.append(Span(Kind.TRANSITION, Segment(covered_s, segment.start_s)))
        lines.append(captions[index].strip() + Kind.EVENT.value)
        spans.append(Span(Kind.EVENT, segment))
        covered_s = max(covered_s, segment.end_s)
    if not spans or duration_s - covered_s >= gap_s - _TIE_S:
        lines.append(Kind.TRANSITION.value)
        spans.append(Span(Kind.TRANSITION, Segment(covered_s, float(duration_s))))
    return Structure("\n".join(lines), tuple(spans))


def read_structure(text: str) -> tuple[StructuralToken, ...]:
    """The structural tokens of a generated text in order, each event with the words since the event before it.

    Words before a `<tst>` belong to the event that follows, words after the last `<ent>` to none. No text raises, and
    the cost is linear in its length.
    """
    tokens: list[StructuralToken] = []
    words: list[str] = []
    begin = 0
    for found in _TOKEN.finditer(text):
        words.append(text[begin : found.start()].strip())
        begin = found.end()
        if found[0] == Kind.EVENT.value:
            tokens.append(StructuralToken(Kind.EVENT, " ".join(filter(None, words))))
            words = []
        else:
            tokens.append(StructuralToken(Kind.TRANSITION, ""))
    return tuple(tokens)


def words_of(text: str) -> str:
    """A generated text without its structural tokens, on one line."""
    return " ".join(_TOKEN.sub(" ", text).split())


def event_captions(text: str, *, official: bool = False) -> tuple[str, ...]:
    """The caption of every event of a generated text, in order.

    `official`: as the released tool cuts them, which takes the characters <, t, s and > from both ends ("stir the pot"
    becomes "ir the po").

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py.
    """
    if official:
        return tuple(piece.strip().strip(GAP_TOKEN) for piece in text.split(Kind.EVENT.value)[:-1])
    return tuple(token.caption for token in read_structure(text) if token.kind is Kind.EVENT)


def clean_window(segment: Segment, num_steps: int, seconds_per_step: float) -> Segment:
    """A segment within the video, in order and at least one step long, in seconds; a shorter one grows on both sides.

    Source: pangzss/MeCo d3ed11b, meco/train/train.py, bind_boundary, with a step in the place of a frame.
    """
    end_of_video_s = num_steps * seconds_per_step
    start_s, end_s = sorted(min(max(float(time_s), 0.0), end_of_video_s) for time_s in segment)
    if end_s - start_s < seconds_per_step:
        half_s = seconds_per_step / 2
        centre_s = min(max((start_s + end_s) / 2, half_s), end_of_video_s - half_s)
        start_s, end_s = centre_s - half_s, centre_s + half_s
    return Segment(start_s, end_s)


def span_targets(
    spans: Sequence[Span], num_steps: int, seconds_per_step: float, *, inclusive_end: bool = True
) -> np.ndarray:
    """What the alignment of each token is trained towards: 1 / m on the m steps of its cleaned window, float64 [K, T].

    `inclusive_end`: the step in which the window ends counts as well, also where the window ends as the step begins, so
    that neighbours share a step; otherwise only steps that the window covers at least in part count. Raises ValueError
    for a grid without steps or time, and for times that are no finite numbers.

    Source: pangzss/MeCo d3ed11b, the released loss (inclusive, one step a second).
    """
    if num_steps < 1 or not 0 < seconds_per_step < math.inf:
        raise ValueError(
            f"a video grid has at least one step of a positive number of seconds, got {num_steps} steps of "
            f"{seconds_per_step} s; take both from the processed video"
        )
    _check_times([span.segment for span in spans])
    targets = np.zeros((len(spans), num_steps))
    for row, span in zip(targets, spans, strict=True):
        window = clean_window(span.segment, num_steps, seconds_per_step)
        first = math.floor(window.start_s / seconds_per_step + _TIE_STEPS)
        end = window.end_s / seconds_per_step
        stop = math.floor(end + _TIE_STEPS) + 1 if inclusive_end else math.ceil(end - _TIE_STEPS)
        row[min(first, num_steps - 1) : stop] = 1.0
    return targets / targets.sum(axis=1, keepdims=True)


def _check(
    captions: Sequence[str], segments: Sequence[Segment], duration_s: float, head_gap_s: float, gap_s: float
) -> None:
    if len(captions) != len(segments):
        raise ValueError(
            f"every event has one caption, got {len(captions)} captions for {len(segments)} segments; "
            "correct the annotation or make captions from a template"
        )
    for index, caption in enumerate(captions):
        if found := _TOKEN.search(caption):
            raise ValueError(f"caption {index} holds {found[0]}, which is written for it; take it out: {caption!r}")
    _check_times([*segments, Segment(0.0, duration_s)])
    if not (head_gap_s > 0 and gap_s > 0):
        raise ValueError(f"gaps that make a transition are positive seconds, got {head_gap_s} and {gap_s}")


def _check_times(segments: Sequence[Segment]) -> None:
    for segment in segments:
        if not all(map(math.isfinite, segment)):
            raise ValueError(f"times are finite seconds, got {tuple(segment)}; leave such an event out")
