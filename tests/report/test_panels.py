import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.report.panels import panels, smooth, split_at, thin
from museg.report.run_folder import read_run

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60).map(np.array)


def test_smooth_by_hand():
    # Window 3 reaches one neighbour each side; at the ends only the neighbour that is there.
    assert smooth(np.array([0.0, 3.0, 6.0, 0.0]), 3) == pytest.approx([1.5, 3.0, 3.0, 3.0])


@given(VALUES, st.integers(0, 100))
def test_smoothing_stays_within_the_values(values, window):
    smoothed = smooth(values, window)
    assert len(smoothed) == len(values)
    slack = 1e-6 * (1 + np.abs(values).max())
    assert smoothed.min() >= values.min() - slack
    assert smoothed.max() <= values.max() + slack


@given(st.floats(-10, 10), st.integers(1, 50), st.integers(0, 60))
def test_smoothing_keeps_a_constant(value, length, window):
    assert smooth(np.full(length, value), window) == pytest.approx(np.full(length, value))


def test_thin_averages_equal_runs():
    # Six points in three runs of two.
    steps, values = thin(np.arange(6.0), np.array([0.0, 2.0, 4.0, 4.0, 1.0, 0.0]), max_points=3)
    assert steps.tolist() == [0.5, 2.5, 4.5]
    assert values.tolist() == [1.0, 4.0, 0.5]


@given(VALUES, st.integers(1, 80))
def test_thin_keeps_to_its_limit_and_to_the_mean(values, max_points):
    steps, thinned = thin(np.arange(float(len(values))), values, max_points)
    assert len(steps) == len(thinned) == min(len(values), max_points)
    if len(values) % len(thinned) == 0:
        assert thinned.mean() == pytest.approx(values.mean(), abs=1e-6 * (1 + np.abs(values).max()))


def test_the_last_step_of_a_phase_belongs_to_it():
    # Step 2 finishes the phase that ends at 2; phases start at 0 and 2.
    assert [part.tolist() for part in split_at(np.array([1.0, 2.0, 3.0]), [0.0, 2.0])] == [[0, 1], [2]]


def test_panels_cover_the_log(finished_run):
    found = {panel.name: panel for panel in panels(read_run(finished_run))}
    assert [curve.label for curve in found["mean_iou"].curves] == [
        "mean IoU (rollouts)",
        "mean IoU (greedy)",
        "mean IoU (sampled)",
    ]
    assert [curve.is_held_out for curve in found["mean_iou"].curves] == [False, True, True]
    assert {curve.label for curve in found["reward_terms"].curves} == {"format", "timestamp", "coverage", "local"}
    assert {"kl", "completion_length", "learning_rate", "time", "reward", "loss"} <= set(found)
    for panel in found.values():
        colours = [curve.colour for curve in panel.curves]
        assert len(set(colours)) == len(colours)


def test_unknown_keys_get_a_panel_of_their_own(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,phase,kind,cold_start_step,gpu/memory_gib,gpu/load\n1,a,train,,3.5,\n2,a,train,,3.6,\n", encoding="utf-8"
    )
    [panel] = panels(read_run(tmp_path))
    assert panel.title == "gpu"
    assert [curve.label for curve in panel.curves] == ["gpu/memory_gib"]
