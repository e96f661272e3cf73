"""Global matching as the paper words it: shared seconds over all seconds that either side covers."""

from collections.abc import Sequence
from dataclasses import dataclass

from museg.dialogue.responses import ParsedResponse
from museg.rewards.base import Reward
from museg.rewards.coverage import overlap_s
from museg.temporal.segments import Segment, merge, total_length_s


@dataclass(frozen=True)
class OverlapRatioReward(Reward):
    """Intersection over union, in seconds, of the time covered by the answer and the time covered by the targets: 0 ...
    1.

    0 when the answer cannot be read or nothing is covered at all. Reversed targets cover nothing.

    Source: arXiv 2505.20715, reward design, global matching. Printed there is the sum of all pairwise intersections
    over the union; here both sides are merged first, which is the same for disjoint segments and cannot exceed 1 for
    overlapping ones.
    """

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        if response.segments is None:
            return 0.0
        predictions = merge(response.segments)
        truths = merge(Segment(*target) for target in targets if target[0] < target[1])
        shared_s = overlap_s(truths, predictions)
        union_s = total_length_s(predictions) + total_length_s(truths) - shared_s
        return shared_s / union_s if union_s > 0 else 0.0
