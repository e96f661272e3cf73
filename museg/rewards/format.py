"""Does the response keep the demanded form?"""

from collections.abc import Sequence
from dataclasses import dataclass

from museg.dialogue.responses import Fault, ParsedResponse
from museg.rewards.base import Reward
from museg.temporal.segments import Segment


@dataclass(frozen=True)
class FormatReward(Reward):
    """1 when tags and items are right, `partial_credit` when only the tags are, 0 when the tags are wrong.

    Whether an item makes a proper segment is not asked: 9-2 is well formed. An empty answer is, too.

    Source: THUNLP-MT/MUSEG 889565e, src/train.py, the format reward of stage 2 (0, 0.2, 1). The paper (arXiv
    2505.20715) mentions no tiers; `partial_credit: 0` is that reading.
    """

    partial_credit: float = 0.2

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        if response.is_well_formed:
            return 1.0
        return self.partial_credit if response.fault is Fault.UNREADABLE else 0.0
