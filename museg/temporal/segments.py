"""Interval arithmetic on time segments in seconds.

Sums run left to right in the order written, by explicit loops: `sum()` compensates rounding from Python 3.12 on, and a
reward must not depend on the interpreter.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Segment(NamedTuple):
    """A stretch of video from `start_s` to `end_s`, in seconds from the start of the file.

    Nothing is checked here: released ground truths hold zero-length and reversed segments, and what those earn is part
    of the recipe. `length_s` of a reversed segment is negative.
    """

    start_s: float
    end_s: float


def length_s(segment: Segment) -> float:
    """End minus start in seconds; negative for a reversed segment."""
    return segment[1] - segment[0]


def total_length_s(segments: Iterable[Segment]) -> float:
    """Lengths added in the order given; overlapping parts count as often as they occur."""
    total_s = 0.0
    for segment in segments:
        total_s += length_s(segment)
    return total_s


def intersection_s(a: Segment, b: Segment) -> float:
    """Seconds shared by both segments, never negative; 0 when one of them is reversed."""
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def merge(segments: Iterable[Segment]) -> list[Segment]:
    """The same covered time as disjoint segments sorted by start; touching segments become one. Costs n log n.

    Segments are expected to satisfy start <= end.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, global matching reward (there for predictions only).
    """
    merged: list[Segment] = []
    for start_s, end_s in sorted(segments):
        if merged and merged[-1].end_s >= start_s:
            merged[-1] = Segment(merged[-1].start_s, max(merged[-1].end_s, end_s))
        else:
            merged.append(Segment(start_s, end_s))
    return merged


def iou(a: Segment, b: Segment) -> float:
    """Intersection over union in seconds; NaN where the union is zero (two empty segments at least)."""
    shared_s = intersection_s(a, b)
    union_s = length_s(a) + length_s(b) - shared_s
    return shared_s / union_s if union_s else math.nan


def normalised_giou(a: Segment, b: Segment) -> float:
    """Generalised IoU mapped from [-1, 1] to [0, 1]: 1 for equal segments, towards 0 for short segments far apart.

    Symmetric. NaN where it is undefined: zero union, or an infinite end. A reversed segment may leave [0, 1].

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, reward_local_matching.
    """
    shared_s = intersection_s(a, b)
    union_s = length_s(a) + length_s(b) - shared_s
    hull_s = max(a[1], b[1]) - min(a[0], b[0])
    if union_s == 0 or hull_s == 0:
        return math.nan
    return (1 + shared_s / union_s - (hull_s - union_s) / hull_s) / 2
