import math

import numpy as np
import pytest

from museg.metrics.et_bench_localisation import (
    EtBenchActionTable,
    EtBenchHighlightTable,
    EtBenchRangeTable,
    EtBenchSummaryTable,
    seconds_f1,
)
from museg.metrics.et_bench_table import five_decimals
from museg.metrics.sample_table import SampleTable

TEN = {"tgt": [0, 10]}
LIST_OF_TEN = {"tgt": [[0, 10]]}
TOO_LARGE = "0 - " + "9" * 400
"""Python reads infinity."""


def scored(table: SampleTable, *samples: tuple[str, dict]) -> dict[str, float]:
    for position, sample in enumerate(samples):
        table.update(position, *sample)
    return table.compute()


def test_the_first_range_counts_and_failures_count_as_zero():
    found = scored(EtBenchRangeTable("tvg"), ("0 - 4 and 0 - 10", TEN), ("no idea", TEN), ("0 - 10", TEN))
    # IoU 0.4, 0, 1; at 0.1 and 0.3 two of three, at 0.5 and 0.7 one: mean (2 + 2 + 1 + 1) / 3 / 4 = 0.5
    assert found == {
        "Total": 3,
        "Failed": 1,
        "mIoU": 0.46667,
        "F1@0.1": 0.66667,
        "F1@0.3": 0.66667,
        "F1@0.5": 0.33333,
        "F1@0.7": 0.33333,
        "F1": 0.5,
    }


def test_any_true_range_is_right_for_tem():
    row = {"tgt": [[0, 10], [20, 25]]}
    found = scored(EtBenchRangeTable("tem"), ("20 - 25", row))
    assert (found["mIoU"], found["mRec"]) == (1.0, 1.0)
    assert list(found) == ["Total", "Failed", "mIoU", "R@0.1", "R@0.3", "R@0.5", "R@0.7", "mRec"]


def test_an_undefined_overlap_spoils_the_mean_and_hits_nothing():
    found = scored(EtBenchRangeTable("epm"), ("5 - 5", {"tgt": [5, 5]}), ("0 - 10", TEN))
    assert math.isnan(found["mIoU"])
    assert (found["F1"], found["Failed"]) == (0.5, 0)


@pytest.mark.parametrize("task", ["tvg", "epm", "tem"])
def test_an_answer_that_stops_the_script_is_a_failure(task):
    table = EtBenchRangeTable(task)
    found = scored(table, ("3..5 - 9", LIST_OF_TEN if task == "tem" else TEN))
    assert found == {**dict.fromkeys(found, 0.0), "Total": 1, "Failed": 1}
    assert table.table()[1][0, table.columns.index("official_raises")] == 1


def test_actions_average_over_all_samples():
    row = {"tgt": [[0, 10], [20, 30]]}
    found = scored(EtBenchActionTable(), ("0 - 10, 0 - 10, 50 - 60", row), ("none", row))
    # recall 1/2, precision 2/3: F1 4/7, halved by the unreadable answer
    assert found["F1"] == found["F1@0.7"] == 0.28571
    assert found["Failed"] == 1


def test_two_equal_moments_stop_the_script_on_actions():
    found = scored(EtBenchActionTable(), ("5 - 5", {"tgt": [[5, 5]]}), ("0 - 7", LIST_OF_TEN))
    assert (found["Failed"], found["F1"]) == (1, 0.5)  # 0.7 of ten seconds is a hit here


def test_summaries_average_over_readable_answers():
    # 5 of 10 seconds: recall 1/2, precision 1, F1 2/3; an unreadable answer leaves the average, an infinite one is 0
    assert scored(EtBenchSummaryTable(), ("0 - 5", LIST_OF_TEN), ("none", LIST_OF_TEN)) == {
        "Total": 2,
        "Failed": 1,
        "F1": 0.66667,
    }
    assert scored(EtBenchSummaryTable(), ("0 - 5", LIST_OF_TEN), (TOO_LARGE, LIST_OF_TEN))["F1"] == 0.33333
    assert scored(EtBenchSummaryTable(), ("none", LIST_OF_TEN)) == {"Total": 1, "Failed": 1, "F1": 0.0}


def test_seconds_round_halves_to_even_and_end_at_a_thousand():
    assert seconds_f1([(0.5, 2.5)], [(0, 2)]) == 1.0
    assert seconds_f1([(1.5, 3.5)], [(2, 4)]) == 1.0
    assert seconds_f1([(0, 6), (4, 12)], [(0, 12)]) == 1.0
    assert seconds_f1([(985, 1e12)], [(990, 1010)]) == pytest.approx(2 * 10 / (15 + 10))
    assert seconds_f1([(1100, 1110)], [(1100, 1110)]) == 0.0


@pytest.mark.parametrize(
    ("text", "truths", "is_hit"),
    [
        ("at 4", [[2, 4]], True),
        ("4.01", [[2, 4]], False),
        ("8.5", [[[2, 4]], [[8, 9]]], True),
        ("-3", [[2, 4]], False),
        ("9" * 400, [[2, 4]], False),
    ],
)
def test_a_highlight_lies_in_a_true_range_of_any_annotator(text, truths, is_hit):
    assert scored(EtBenchHighlightTable(), (text, {"tgt": truths})) == {"Total": 1, "Failed": 0, "F1": float(is_hit)}


def test_no_number_is_a_failed_highlight():
    assert scored(EtBenchHighlightTable(), ("soon", LIST_OF_TEN)) == {"Total": 1, "Failed": 1, "F1": 0.0}


def test_nothing_seen_is_nothing_reported():
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert EtBenchRangeTable("tvg").compute() == {}


def test_five_decimals():
    assert five_decimals(1 / 3) == 0.33333
    # 1/64 = 0.015625 is exact in binary, a tie: to even; 0.123455 lies just below in binary, though numpy rounds it up
    assert five_decimals(1 / 64) == 0.01562
    assert five_decimals(np.float64(0.123455)) == 0.12345
    assert five_decimals(np.array([1 / 3, 2 / 3])).tolist() == [0.33333, 0.66667]
    assert math.isnan(five_decimals(math.nan))
