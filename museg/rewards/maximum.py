"""Local matching at its best: the one-to-one assignment that scores highest, whatever order the answer has."""

from collections.abc import Sequence
from dataclasses import dataclass

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward
from museg.rewards.sequential import mean_score
from museg.temporal.pairing import maximum_pairs
from museg.temporal.segments import Segment


@dataclass(frozen=True)
class MaximumMatchingReward(Reward):
    """Mean normalised GIoU over an optimal one-to-one assignment, padded like the sequential matching: 0 ... 1.

    Never below `SequentialMatchingReward` and blind to the order of the answer. 0 when the answer cannot be read or
    both sides are empty; NaN when a pair is undefined.

    Source: arXiv 2505.20715, ablation of the matching; the release holds no code for it. Score and padding are those of
    the released sequential matching (THUNLP-MT/MUSEG 889565e, src/train.py, reward_local_matching).
    """

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        return 0.0 if response.segments is None else mean_score(maximum_pairs(response.segments, targets))
