"""Global matching: how well the answer as a whole covers the true seconds."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward
from museg.temporal.segments import Segment, intersection_s, merge, total_length_s

EPSILON = 1e-6
"""Added to every denominator. Source: THUNLP-MT/MUSEG 889565e, src/train.py, global matching reward."""


@dataclass(frozen=True)
class CoverageReward(Reward):
    """F1 of seconds: the shared time as a share of the predicted and of the true time. 0 when the answer cannot be
    read.

    Predictions are merged first, targets are not: seconds in two targets count twice, and a perfect answer to
    overlapping targets exceeds 1 (up to 1.47 in the released data). For disjoint targets it lies in 0 ... 1.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, global matching reward. The paper (arXiv 2505.20715, reward design)
    has an
    overlap ratio in its place: `museg.rewards.overlap_ratio`.
    """

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        if response.segments is None:
            return 0.0
        predictions = merge(response.segments)
        predicted_s, true_s = total_length_s(predictions), total_length_s(targets)
        shared_s = overlap_s(targets, predictions)
        precision = _ratio(shared_s, predicted_s + EPSILON)
        recall = _ratio(shared_s, true_s + EPSILON)
        return _ratio(2 * precision * recall, precision + recall + EPSILON)


def overlap_s(targets: Sequence[Segment], merged: Sequence[Segment]) -> float:
    """Intersections of every target with every segment of `merged` (sorted and disjoint), added in that order.

    Only segments that reach into a target are visited; the others would add exact zeros.
    """
    ends_s = [segment.end_s for segment in merged]
    total_s = 0.0
    for target in targets:
        for index in range(bisect_right(ends_s, target[0]), len(merged)):
            if merged[index].start_s >= target[1]:
                break
            total_s += intersection_s(target, merged[index])
    return total_s


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
