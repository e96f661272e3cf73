import numpy as np

from museg.report.drawing import drawing_style
from museg.report.sweep_curves import MAX_DRAWN, draw_sweep, mean_series, shared_seeds
from museg.report.sweep_folder import read_sweep
from museg.report.sweep_results import choose_baseline, configurations
from tests.report.invented_sweep import NOW_S, member_config, write_invented_sweep, write_member


def drawn(folder, pictures):
    with drawing_style():
        found = configurations(read_sweep(folder, NOW_S))
        found = draw_sweep(found, choose_baseline(found, None), pictures)
    return {picture.name: picture for picture in found}


def test_the_mean_is_taken_where_all_are():
    one = np.array([0.0, 50.0, 100.0]), np.array([0.5, 0.6, 0.7])
    other = np.array([0.0, 100.0]), np.array([0.3, 0.5])
    steps, values = mean_series([one, other])
    assert steps.tolist() == [0, 100] and np.allclose(values, [0.4, 0.6])
    assert [len(part) for part in mean_series([])] == [0, 0]


def test_means_are_over_the_seeds_that_all_have_finished(tmp_path):
    assert shared_seeds([{"0", "1", "2"}, {"1", "2"}, set()]) == {"1", "2"}
    assert shared_seeds([{"0"}, {"1"}]) == shared_seeds([]) == set()
    found = drawn(write_invented_sweep(tmp_path / "sweep", num_members=5), tmp_path)
    assert found["sweep_greedy"].title == "Held-out mean IoU, greedy (means over 2 seeds)"


def test_configurations_are_named_and_shared_phases_too(tmp_path):
    found = drawn(write_invented_sweep(tmp_path / "sweep"), tmp_path)
    assert list(found) == [
        f"sweep_{name}" for name in ("scores", "greedy", "sampled", "rollouts", "cited", "reward", "kl")
    ]
    for words in ("reward", "sequential", "local_only", "timestamp", "plain", "training step"):
        assert f">{words}</text>" in found["sweep_greedy"].svg
    assert {picture.png for picture in found.values()} == set(tmp_path.glob("*.png"))


def test_phases_that_differ_are_lines_without_names(tmp_path):
    for number, steps in enumerate((0, 60, 180)):
        write_member(tmp_path / "sweep" / f"{number}_x", member_config(0, steps=steps), 0.1)
    svg = drawn(tmp_path / "sweep", tmp_path)["sweep_greedy"].svg
    assert ">timestamp</text>" not in svg and ">60</text>" in svg and ">phase.steps</text>" in svg


def test_unfinished_members_are_drawn_and_absent_ones_named(tmp_path):
    folder = write_invented_sweep(tmp_path / "sweep", num_members=3)
    write_member(folder / "3_reward-maximum_seed-0", member_config(0, "maximum"), 0.1, steps_done=70)
    found = drawn(folder, tmp_path)
    assert ">maximum</text>" in found["sweep_greedy"].svg
    assert ">local_only</text>" in found["sweep_greedy"].svg


def test_more_configurations_than_can_be_told_apart(tmp_path):
    for number in range(MAX_DRAWN + 2):
        write_member(tmp_path / "sweep" / f"{number}_x", member_config(0, steps=1 + number), 0.1, steps_done=3)
    found = drawn(tmp_path / "sweep", tmp_path)
    assert "sweep_scores" not in found  # nothing is finished
    assert f">{MAX_DRAWN}</text>" in found["sweep_rollouts"].svg
    assert f">{MAX_DRAWN + 1}</text>" not in found["sweep_rollouts"].svg


def test_nothing_measured_nothing_drawn(tmp_path):
    (tmp_path / "sweep" / "0_x").mkdir(parents=True)
    assert drawn(tmp_path / "sweep", tmp_path) == {}
