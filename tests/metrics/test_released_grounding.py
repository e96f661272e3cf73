import math

import numpy as np
import pytest

from museg.metrics.released_grounding import ReleasedGroundingTable
from museg.temporal.segments import Segment

TEN = [Segment(0, 10)]


def scored(task: str, *samples: tuple[list[Segment], list[Segment]]) -> dict[str, float]:
    table = ReleasedGroundingTable(task)
    for position, sample in enumerate(samples):
        table.update(position, *sample)
    return table.compute()


def test_tvg_looks_at_first_segments_only():
    found = scored("tvg", ([Segment(0, 4), Segment(0, 10)], [*TEN, Segment(0, 4)]), ([], TEN))
    # IoU 0.4 and nothing: 0.2; recall 1/2 at 0.1 and 0.3, 0 above
    assert found == pytest.approx(
        {
            "m_iou": 0.2,
            "f1_single_0.1": 0.5,
            "f1_single_0.3": 0.5,
            "f1_single_0.5": 0.0,
            "f1_single_0.7": 0.0,
            "mean_f1_single": 0.25,
        }
    )


def test_an_exact_tie_at_seven_tenths_counts_for_tal_only():
    assert scored("tvg", ([Segment(0, 7)], TEN))["f1_single_0.7"] == 0.0
    assert scored("tal", ([Segment(0, 7)], TEN))["f1_multi_0.7"] == 1.0


def test_tal_counts_repeated_segments_every_time():
    # recall 1/2, precision 1: F1 2/3 at every threshold
    found = scored("tal", ([Segment(0, 10)] * 3, [*TEN, Segment(20, 30)]))
    assert found["mean_f1_multi"] == pytest.approx(2 / 3)


def test_an_undefined_overlap_spoils_the_mean_of_tvg_and_is_a_miss_elsewhere():
    # in float32 both of these are the same moment, so that their IoU is 0/0
    predicted, truth = [Segment(5, 5 + 1e-12)], [Segment(5, 5)]
    found = scored("tvg", (predicted, truth), (TEN, TEN))
    assert math.isnan(found["m_iou"])
    assert found["mean_f1_single"] == 0.5
    assert scored("tal", (predicted, truth), (TEN, TEN))["mean_f1_multi"] == 0.5


def test_resampled_means_give_resampled_scores():
    table = ReleasedGroundingTable("tvg")
    means = {name: np.array([0.2, 0.6]) for name in table.columns}
    assert np.allclose(table.summarise(means)["mean_f1_single"], [0.2, 0.6])


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="tvg or tal, got 'mr'"):
        ReleasedGroundingTable("mr")
