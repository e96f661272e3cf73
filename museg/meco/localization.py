"""Where events lie: similarity rows -> runs of steps -> scored segments in seconds.

Shapes: K structural tokens in the order written; T temporal steps of the video grid; n runs of all events.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from museg.meco.structure import Kind
from museg.meco.suppression import ranked, ranked_as_released
from museg.temporal.segments import Segment

COSINE, PROBABILITY = "cosine", "probability"


@dataclass(frozen=True)
class LocalizationSettings:
    """How similarities become segments. Raises ValueError for a value out of range.

    threshold: a step is inside an event where the event's row, stretched to 0 ... 1, is above it.
    competition: it is so only where no other token, of either kind, is the more probable one.
    dilation_steps: by how many steps every run then grows on both sides, even into what another token won.
    suppression_iou: of two runs that overlap by this IoU or more the lower one is left out.
    score: what a run is ranked by: the highest `cosine` in it, or the highest `probability` (softmax over the video).
    include_last_step: whether a run lasts to the end of its last step, or to where that step begins. The first goes
        with targets that leave out the step which begins at an event's end, the second with targets that include it
        (`museg.meco.structure.span_targets`). A run of one step lasts for that step either way.
    official: as released: in float32, and a suppressed run stays, with score 0, above runs of negative cosine.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, get_boundaries: these values, and its behaviour under
    `official`. compute_metrics_charades_qvh.py ranks by probability, for QVHighlights without competition and dilation.
    """

    threshold: float = 0.7
    competition: bool = True
    dilation_steps: int = 1
    suppression_iou: float = 0.7
    score: str = COSINE
    include_last_step: bool = False
    official: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise ValueError(f"threshold must be 0 or more and below 1 (nothing is above that), got {self.threshold}")
        if self.dilation_steps < 0:
            raise ValueError(f"dilation_steps must be 0 (runs stay as they are) or more, got {self.dilation_steps}")
        if not self.suppression_iou > 0:
            raise ValueError(f"suppression_iou must be positive (above 1: no suppression), got {self.suppression_iou}")
        if self.score not in (COSINE, PROBABILITY):
            raise ValueError(f"score must be {COSINE} or {PROBABILITY}, got {self.score!r}")


class Run(NamedTuple):
    """Neighbouring steps of one event, from the first to the last one inside, and its most similar step."""

    first_step: int
    last_step: int
    score: float
    peak_step: int


class ScoredSegment(NamedTuple):
    """A run in seconds. `row`: its token's place among all structural tokens. `score`: as ranked (see `official`)."""

    segment: Segment
    score: float
    row: int
    run: Run


def locate(
    rows: np.ndarray | Sequence[Sequence[float]],
    kinds: Sequence[Kind],
    scale: float,
    settings: LocalizationSettings = LocalizationSettings(),
) -> list[list[Run]]:
    """The runs of every token in the order of time, K lists; a transition has none, nor has a row that is constant.

    rows: cosines of every token with every step, [K, T]; `scale` is what the softmax multiplies them by. A row that
    holds a number which is not finite has no run and competes with none. Raises ValueError for rows of another shape.
    """
    if not len(kinds):
        return []
    cosines = _checked(rows, kinds).astype(np.float32 if settings.official else np.float64)
    probabilities = step_probabilities(cosines, scale)
    probabilities[~np.isfinite(cosines).all(axis=1)] = np.nan
    rivals = _highest_of_others(probabilities)
    scores = cosines if settings.score == COSINE else probabilities
    found: list[list[Run]] = []
    for index, kind in enumerate(kinds):
        if kind is not Kind.EVENT:
            found.append([])
            continue
        is_inside = _stretched(cosines[index]) > settings.threshold
        if settings.competition:
            is_inside &= probabilities[index] >= rivals[index]
        found.append(_runs(_dilated(is_inside, settings.dilation_steps), scores[index]))
    return found


def scored_segments(
    runs: Sequence[Sequence[Run]],
    seconds_per_step: float,
    settings: LocalizationSettings = LocalizationSettings(),
    *,
    filled_steps: float = math.inf,
) -> list[ScoredSegment]:
    """The runs of all tokens (see `locate`) in seconds, best first, without those that a better one suppresses.

    `filled_steps`: where in steps the video ends, such as 6.5 of 7, and so every segment at the latest; under
    `official` one may last longer than the video. Raises ValueError for steps that are no positive number of seconds.
    """
    if not 0 < seconds_per_step < math.inf:
        raise ValueError(f"a step lasts a positive number of seconds, got {seconds_per_step}; take the sample's own")
    found = [(row, run) for row, of_token in enumerate(runs) for run in of_token]
    if not found:
        return []
    edges = np.array([_edges(run, settings.include_last_step) for _, run in found])  # [n, 2], in steps
    if not settings.official:
        edges = edges.clip(max=filled_steps)
    scores = np.array([run.score for _, run in found])
    rank = ranked_as_released if settings.official else ranked
    return [
        ScoredSegment(Segment(*(edges[index] * seconds_per_step).tolist()), score, *found[index])
        for index, score in rank(edges, scores, settings.suppression_iou)
    ]


def step_probabilities(cosines: np.ndarray, scale: float) -> np.ndarray:
    """Softmax of scaled cosines [K, T] over the steps of the video, in their type."""
    with np.errstate(invalid="ignore", over="ignore"):
        logits = cosines * cosines.dtype.type(scale)
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return weights / weights.sum(axis=1, keepdims=True)


def _checked(rows: np.ndarray | Sequence[Sequence[float]], kinds: Sequence[Kind]) -> np.ndarray:
    table = np.asarray(rows)
    if table.ndim != 2 or len(table) != len(kinds) or table.shape[1] == 0:
        raise ValueError(
            f"similarities have a row for each of the {len(kinds)} structural tokens and a column for each step of the "
            f"video, got shape {table.shape}"
        )
    return table


def _stretched(row: np.ndarray) -> np.ndarray:
    """A row moved and scaled to 0 ... 1; NaN where that is undefined."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return (row - row.min()) / (row.max() - row.min())


def _highest_of_others(table: np.ndarray) -> np.ndarray:
    """For every entry of [K, T] the highest of the other rows in its column; -inf where there is none. NaN is none."""
    numbers = np.where(np.isnan(table), -np.inf, table)
    best = numbers.argmax(axis=0)
    is_best = np.arange(len(table))[:, None] == best
    second = np.where(is_best, -np.inf, numbers).max(axis=0)
    return np.where(is_best, second, numbers.max(axis=0))


def _dilated(is_inside: np.ndarray, num_steps: int) -> np.ndarray:
    """`is_inside` [T], spread over `num_steps` neighbours on both sides."""
    changes = np.zeros(len(is_inside) + 1, dtype=np.int64)
    inside = np.flatnonzero(is_inside)
    np.add.at(changes, np.maximum(inside - num_steps, 0), 1)
    np.add.at(changes, np.minimum(inside + num_steps + 1, len(is_inside)), -1)
    return np.cumsum(changes)[:-1] > 0


def _runs(is_inside: np.ndarray, scores: np.ndarray) -> list[Run]:
    changes = np.flatnonzero(np.diff(np.concatenate(([False], is_inside, [False])).astype(np.int8)))
    found = []
    for first, stop in changes.reshape(-1, 2).tolist():
        peak = first + int(scores[first:stop].argmax())
        found.append(Run(first, stop - 1, float(scores[peak]), peak))
    return found


def _edges(run: Run, include_last_step: bool) -> tuple[int, int]:
    """Where a run begins and ends, in steps."""
    is_whole = include_last_step or run.first_step == run.last_step
    return run.first_step, run.last_step + is_whole
