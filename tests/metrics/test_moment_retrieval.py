import math

import numpy as np
import pytest

from museg.metrics.moment_retrieval import CorrectedMomentRetrievalTable, MomentRetrievalTable
from museg.metrics.window_scores import windows_of
from museg.temporal.segments import Segment

TRUE = [Segment(0, 20), Segment(50, 58)]  # middle (20 s) and short (8 s)


def scores_of(*answers, table=MomentRetrievalTable):
    metric = table()
    for position, (windows, targets) in enumerate(answers):
        metric.update(position, windows, targets)
    return metric.compute()


def test_first_and_best_of_five():
    # first window: IoU 10/20 with [0, 20]; the second is exact
    found = scores_of(([(0, 10, 0.9), (50, 58, 0.8)], TRUE))
    assert found["MR-full-mIoU"] == 50.0
    assert (found["MR-full-R1@0.5"], found["MR-full-R1@0.55"]) == (100.0, 0.0)
    assert found["MR-full-R5@0.95"] == 100.0
    # t = 0.5: both found, 100; above: miss then hit, precision 1/2 for half of the recall, 25
    assert (found["MR-full-mAP@0.5"], found["MR-full-mAP@0.55"]) == (100.0, 25.0)
    assert found["MR-full-mAP"] == 32.5  # (100 + 9 * 25) / 10


def test_ranges_by_length():
    found = scores_of(([(50, 58, 1.0)], TRUE), ([(0, 15, 1.0)], [Segment(0, 20)]))
    assert found["MR-short-mIoU"] == 100.0  # only the first sample has a short window
    assert found["MR-middle-mIoU"] == 37.5  # (0 + 15/20) / 2
    assert found["MR-long-mIoU"] == found["MR-full-mIoU"] == 87.5  # nobody has a long one: the whole set


def test_average_precision_follows_scores_among_the_first_ten():
    far = [(100 + n, 101 + n, 1.0) for n in range(10)]
    right = (0, 20, 2.0)
    assert scores_of(([*far[:9], right], [TRUE[0]]))["MR-full-mAP"] == 100.0  # the tenth, but of the highest score
    assert scores_of(([*far, right], [TRUE[0]]))["MR-full-mAP"] == 0.0  # the eleventh is never seen


def test_an_answer_without_windows():
    answers = [(windows_of(None, 40.0), [Segment(0, 20)]), ([], [Segment(0, 20)])]
    assert scores_of(answers[0])["MR-full-R1@0.5"] == 100.0  # 20 / 40: the published stand-in earns something
    assert scores_of(answers[1])["MR-full-R1@0.3"] == 0.0
    corrected = scores_of(answers[1], table=CorrectedMomentRetrievalTable)
    assert corrected["no_fallback_MR-full-mIoU"] == 0.0
    assert math.isnan(corrected["no_fallback_MR-long-mIoU"])


def test_a_window_of_no_length_is_not_found_in_the_corrected_scores():
    same = ([(5, 5, 1.0)], [Segment(5, 5)])  # IoU 0 / 0, which the published script takes for a hit
    assert scores_of(same)["MR-full-mAP"] == 100.0
    assert scores_of(same, table=CorrectedMomentRetrievalTable)["no_fallback_MR-full-mAP"] == 0.0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("window", [(math.nan, 3, 1), (0, math.inf, 1), (-math.inf, math.inf, 1), (9, 2, math.nan)])
@pytest.mark.parametrize("table", [MomentRetrievalTable, CorrectedMomentRetrievalTable])
def test_odd_windows_are_data(window, table):
    found = scores_of(([window], TRUE), table=table)
    assert [value for name, value in found.items() if name.endswith("full-mIoU")] == [0.0]


def test_summaries_of_resampled_means():
    table = MomentRetrievalTable()
    table.update(0, [(50, 58, 1.0)], TRUE)
    _, rows = table.table()
    means = {name: np.array([rows[0, index]] * 3) for index, name in enumerate(table.columns)}
    resampled = table.summarise(means)
    for name, value in table.compute().items():
        assert resampled[name].tolist() == [value] * 3
