import math

import numpy as np
import pytest

from museg.metrics.sample_table import NOT_COUNTED, SPOILED, SampleTable, column_means

COLUMNS = ("iou", "hit")


def filled(rows: dict[int, tuple[float, float]]) -> SampleTable:
    table = SampleTable(COLUMNS)
    for position, (iou, hit) in rows.items():
        table.update(position, {"iou": iou, "hit": hit})
    return table


def test_means_leave_out_what_does_not_count():
    # iou: (0.5 + 1.0) / 2, the third is left out; hit: (1 + 0 + 1) / 3
    found = filled({0: (0.5, 1.0), 1: (1.0, 0.0), 2: (NOT_COUNTED, 1.0)}).compute()
    assert found == pytest.approx({"iou": 0.75, "hit": 2 / 3})


def test_one_spoiled_value_spoils_its_column_only():
    found = filled({0: (SPOILED, 1.0), 1: (1.0, 0.0)}).compute()
    assert math.isnan(found["iou"])
    assert found["hit"] == 0.5


def test_order_of_updates_and_repeated_samples_do_not_matter():
    rows = {position: (position / 7, float(position % 2)) for position in range(7)}
    forward = filled(rows)
    backward = filled(dict(reversed(rows.items())))
    backward.update(3, {"iou": 3 / 7, "hit": 1.0})  # the padding of a distributed sampler
    assert forward.compute() == backward.compute()
    assert np.array_equal(forward.table()[0], np.arange(7))


def test_nothing_seen_is_nothing_reported():
    assert SampleTable(COLUMNS).compute() == {}


def test_a_row_must_have_all_columns():
    with pytest.raises(ValueError, match="columns"):
        SampleTable(COLUMNS).update(0, {"iou": 1.0})


def test_resampled_means():
    rows = np.array([[1.0, NOT_COUNTED], [0.0, 0.5], [SPOILED, 1.0]])
    weights = np.array([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0], [3.0, 0.0, 0.0]])
    # first: (1 + 1 + 0) / 3 and 0.5 (one that counts); second: spoiled, 1.0; third: 1.0 and nothing that counts
    expected = np.array([[2 / 3, 0.5], [np.nan, 1.0], [1.0, np.nan]])
    assert np.allclose(column_means(rows, weights), expected, equal_nan=True)
