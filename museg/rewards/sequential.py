"""Local matching in sequence: the k-th predicted segment against the k-th true one."""

from collections.abc import Sequence
from dataclasses import dataclass

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward
from museg.temporal.pairing import Pair, sequential_pairs
from museg.temporal.segments import Segment, normalised_giou


@dataclass(frozen=True)
class SequentialMatchingReward(Reward):
    """Mean normalised GIoU over pairs in the order written, the shorter side padded with a segment far away: 0 ... 1.

    0 when the answer cannot be read or both sides are empty. NaN when a pair is undefined (an infinite prediction). A
    reversed target may push the value below 0.

    sort_by_start: pair both sides in order of their start instead.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, reward_local_matching (unsorted). The paper (arXiv 2505.20715, reward
    design) sorts by start; `sort_by_start: true` is that reading.
    """

    sort_by_start: bool = False

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        if response.segments is None:
            return 0.0
        if self.sort_by_start:
            return mean_score(sequential_pairs(sorted(response.segments), sorted(targets)))
        return mean_score(sequential_pairs(response.segments, targets))


def mean_score(pairs: Sequence[Pair]) -> float:
    """Mean `normalised_giou` of the pairs, added in their order; 0 for none, NaN as soon as one is undefined."""
    total = 0.0
    for prediction, target in pairs:
        total += normalised_giou(prediction, target)
    return total / len(pairs) if pairs else 0.0
