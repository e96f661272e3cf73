"""The mean over samples, in one piece or in shards."""

import pytest

from museg.metrics.grounding import GroundingMetrics
from museg.temporal.segments import Segment

SAMPLES = [
    ([Segment(0, 4)], [Segment(0, 4)], {"reward": 2.0}),  # IoU 1
    ([Segment(0, 2)], [Segment(0, 4)], {"reward": 1.0}),  # IoU 1/2
    ([], [Segment(0, 4)], {"reward": 0.0}),  # IoU 0
]


def test_mean_over_samples():
    metrics = GroundingMetrics(["reward"])
    for sample in SAMPLES:
        metrics.update(*sample)
    result = metrics.compute()
    assert result["mean_iou"] == pytest.approx(0.5)  # (1 + 1/2 + 0) / 3
    assert result["reward"] == pytest.approx(1.0)
    assert result["f1@0.7"] == pytest.approx(1 / 3)


def test_shards_merge_to_the_same_means():
    whole, left, right = (GroundingMetrics(["reward"]) for _ in range(3))
    for sample in SAMPLES:
        whole.update(*sample)
    left.update(*SAMPLES[0])
    for sample in SAMPLES[1:]:
        right.update(*sample)
    left.sums += right.sums
    left.num_samples += right.num_samples
    assert left.compute() == pytest.approx(whole.compute())


def test_no_samples_give_no_numbers():
    assert GroundingMetrics().compute() == {}


def test_unknown_extra_is_refused():
    with pytest.raises(ValueError, match="extra names"):
        GroundingMetrics(["reward"]).update([], [], {"rewrad": 1.0})
