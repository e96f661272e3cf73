"""Where answers fail: unreadable texts, wrong counts, boundaries that are off, and which truths are hard to find."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from museg.evaluation.samples import BenchmarkSample, Reading
from museg.metrics.grounding_scores import set_iou
from museg.temporal.pairing import maximum_pairs
from museg.temporal.segments import Segment, intersection_s, iou, length_s

BOUNDARY_EDGES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
"""Edges of the histogram of boundary errors, in seconds; what lies beyond the last counts in a bin of its own."""
LENGTH_EDGES_S = (0.0, 2.0, 5.0, 10.0, 30.0, 60.0)
COUNT_EDGES = (1, 2, 3, 5, 9, 17)
NUM_POSITIONS = 5
MAX_PAIRED = 1_000
"""Predicted segments of one answer that are paired with truths; a longer answer says nothing about boundaries."""


class Boundaries(NamedTuple):
    """How far a predicted segment's start and end lie from those of the true segment it is paired with, in seconds."""

    start_s: float
    end_s: float


def analyse(samples: Sequence[BenchmarkSample], readings: Sequence[Reading]) -> dict[str, Any]:
    """The failure analysis of `metrics.json`; `readings[i]` is what was read in the answer to `samples[i]`.

    Counts, boundaries and IoU are told for samples whose true segments are all asked for. A predicted segment's
    boundary error is taken against its partner in the best one-to-one assignment where the two overlap at all.
    """
    pairs = zip(samples, readings, strict=True)
    grounded = [(sample, reading.segments or ()) for sample, reading in pairs if asks_for_all(sample)]
    spans = ((len(sample.targets), set_iou(segments, sample.targets)) for sample, segments in grounded)
    errors = [error for sample, segments in grounded for error in boundary_errors(segments, sample.targets)]
    return {
        "kinds": dict(sorted(Counter(reading.failure for reading in readings if reading.failure).items())),
        "counts": dict(Counter(count_kind(segments, sample.targets) for sample, segments in grounded)),
        "boundary_error_s": _boundaries(errors),
        "iou_by": {
            "segment_length_s": _binned(_ious(grounded, lambda sample, target: length_s(target)), LENGTH_EDGES_S, " s"),
            "num_segments": _binned(spans, COUNT_EDGES, ""),
            "position": _by_position(_ious(grounded, _position)),
        },
    }


def asks_for_all(sample: BenchmarkSample) -> bool:
    """Whether an answer should name every true segment: not where any one of them will do, and not for a letter."""
    return bool(sample.targets) and sample.task not in ("tem", "vhd")


def count_kind(segments: Sequence[Segment], targets: Sequence[Segment]) -> str:
    """`exact`, `too_few` or `too_many` segments."""
    if len(segments) == len(targets):
        return "exact"
    return "too_few" if len(segments) < len(targets) else "too_many"


def boundary_errors(segments: Sequence[Segment], targets: Sequence[Segment]) -> list[Boundaries]:
    """Start and end errors, absolute, of every overlapping pair of the best one-to-one assignment."""
    pairs = maximum_pairs(segments[:MAX_PAIRED], targets)
    return [
        Boundaries(abs(segment.start_s - target.start_s), abs(segment.end_s - target.end_s))
        for segment, target in pairs
        if intersection_s(segment, target) > 0
    ]


def _boundaries(errors: Sequence[Boundaries]) -> dict[str, Any]:
    if not errors:
        return {"num_pairs": 0, "start": None, "end": None, "histogram": None}
    both = np.asarray(errors, dtype=np.float64)  # [pairs, 2]
    edges = np.array([*BOUNDARY_EDGES_S, np.inf])
    counts, _ = np.histogram(np.minimum(both.ravel(), 1e300), bins=edges)
    return {
        "num_pairs": len(both),
        "start": _spread(both[:, 0]),
        "end": _spread(both[:, 1]),
        "histogram": {"edges_s": list(BOUNDARY_EDGES_S), "counts": counts.tolist()},
    }


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "median": float(np.median(values)), "p90": float(np.quantile(values, 0.9))}


Grounded = tuple[BenchmarkSample, Sequence[Segment]]


def _ious(
    grounded: Iterable[Grounded], key: Callable[[BenchmarkSample, Segment], float | None]
) -> Iterator[tuple[float, float]]:
    """(key, IoU of the best prediction) of every true segment that has a key."""
    for sample, segments in grounded:
        for target in sample.targets:
            place = key(sample, target)
            if place is not None:
                yield place, max((_iou(segment, target) for segment in segments[:MAX_PAIRED]), default=0.0)


def _iou(segment: Segment, target: Segment) -> float:
    """IoU, 0 where it is undefined."""
    return iou(segment, target) if intersection_s(segment, target) > 0 else 0.0


def _position(sample: BenchmarkSample, target: Segment) -> float | None:
    """Where in the clip the middle of a true segment lies, 0 to 1; None where the clip's length is unknown."""
    if not sample.duration_s:
        return None
    return min(max((target.start_s + target.end_s) / 2 / sample.duration_s, 0.0), 1.0)


def _binned(values: Iterable[tuple[float, float]], edges: Sequence[float], unit: str) -> list[Mapping[str, Any]]:
    """Mean IoU by bin [edge, next edge); the last bin is open."""
    bins: list[list[float]] = [[] for _ in edges]
    for key, value in values:
        bins[max(int(np.searchsorted(edges, key, side="right")) - 1, 0)].append(value)
    labels = [_label(edges, index) + unit for index in range(len(edges))]
    return [_bin(label, found) for label, found in zip(labels, bins, strict=True)]


def _label(edges: Sequence[float], index: int) -> str:
    low = edges[index]
    if index + 1 == len(edges):
        return f"{low:g}+"
    high = edges[index + 1]
    if isinstance(low, int):  # counts: 1, 2, 3-4
        return f"{low}" if high == low + 1 else f"{low}-{high - 1}"
    return f"{low:g}-{high:g}"


def _by_position(values: Iterable[tuple[float, float]]) -> list[Mapping[str, Any]]:
    bins: list[list[float]] = [[] for _ in range(NUM_POSITIONS)]
    for place, value in values:
        bins[min(int(place * NUM_POSITIONS), NUM_POSITIONS - 1)].append(value)
    share = 100 // NUM_POSITIONS
    return [_bin(f"{index * share}-{(index + 1) * share} %", found) for index, found in enumerate(bins)]


def _bin(label: str, values: Sequence[float]) -> dict[str, Any]:
    return {"label": label, "num": len(values), "mean_iou": float(np.mean(values)) if values else None}
