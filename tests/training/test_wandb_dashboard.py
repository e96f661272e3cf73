"""What a row of the run log becomes in W&B."""

from unittest.mock import Mock

from PIL import Image

from museg.training.run_log import LogRow
from museg.training.wandb_dashboard import WandbDashboard, of_one_size, scalars, table

PHASES = ["timestamp", "plain"]


def test_a_step_stands_at_our_step_with_the_number_of_its_phase():
    row = LogRow(401, "plain", "train", {"loss/total": 0.5})
    assert scalars(row, PHASES) == {"step": 401, "phase": 1, "loss/total": 0.5}


def test_what_is_measured_before_the_first_phase_has_none():
    row = LogRow(0, "cold_start", "validation", {"held_out/greedy/mean_iou": 0.6})
    assert scalars(row, PHASES) == {"step": 0, "held_out/greedy/mean_iou": 0.6}


def test_the_cold_start_has_its_own_keys_and_axis():
    row = LogRow(0, "cold_start", "cold_start", {"loss/total": 2.0, "held_out/greedy/mean_iou": 0.1}, 25)
    assert scalars(row, PHASES) == {"cold_start/step": 25, "cold_start/loss": 2.0, "cold_start/mean_iou": 0.1}


def record(**more):
    told = {"step": 1, "phase": "plain", "example_id": "a", "query": "q", "targets": [[2.0, 5.5], [8, 9]]}
    return told | {"duration_s": 24.0, "text": "t", "reward": 1.5, "terms": {"format": 1.0, "local": 0.5}} | more


def test_a_table_has_a_row_for_each_completion_and_a_column_for_each_term():
    names, rows = table([record(), record(example_id="b", terms={"format": 0.0})])
    assert names[:-2] == ["step", "phase", "example_id", "query", "targets", "text", "reward"]
    assert names[-2:] == ["reward/format", "reward/local"]
    assert rows == [
        [1, "plain", "a", "q", "2-5.5 s, 8-9 s", "t", 1.5, 1.0, 0.5],
        [1, "plain", "b", "q", "2-5.5 s, 8-9 s", "t", 1.5, 0.0, None],
    ]


def test_pictures_get_one_size_and_lose_nothing():
    small, large = Image.new("RGB", (2, 3), "black"), Image.new("RGB", (4, 1), "red")
    first, second = of_one_size([small, large])
    assert first.size == second.size == (4, 3)
    assert [first.getpixel(place) for place in ((1, 2), (3, 0))] == [(0, 0, 0), (255, 255, 255)]
    assert [second.getpixel(place) for place in ((3, 0), (0, 1))] == [(255, 0, 0), (255, 255, 255)]
    assert of_one_size([]) == []


def test_a_stopped_run_is_told_to_be_preempted_and_not_waited_for():
    dashboard = object.__new__(WandbDashboard)
    dashboard.run = Mock()
    dashboard.pause()
    assert [name for name, *_ in dashboard.run.method_calls] == ["mark_preempting"]
