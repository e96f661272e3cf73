"""What `summary.json` says, read back from the run log."""

import json
import math

import pytest

from museg.metrics.keys import columns
from museg.training.cold_start import ColdStartRecord
from museg.training.run_log import RunLog
from museg.training.summary import training_s, write_summary
from tests.training.small_fits import small_job

RECORD = ColdStartRecord(40, "reached", True, [{"step": 40, "loss": 0.5, "mean_iou": 0.6}])

FOUND = {"kept_faults": {"zero length": 2}}


def mean_ious(greedy: float, sampled: float) -> dict[str, float]:
    return {"held_out/greedy/mean_iou": greedy, "held_out/sampled/mean_iou": sampled}


@pytest.fixture
def job(outputs):
    return small_job(outputs)


@pytest.fixture
def log(job, tmp_path) -> RunLog:
    """A run of two phases that end after steps 2 and 4, validated in between as well."""
    log = RunLog(tmp_path, columns(job.reward.term_names))
    log.add(0, "cold_start", "cold_start", {"held_out/greedy/mean_iou": 0.99}, cold_start_step=40)
    log.add(0, "cold_start", "validation", mean_ious(0.1, 0.05))
    log.add(2, "timestamp", "train", {"reward/total": 1.0})
    log.add(2, "timestamp", "validation", mean_ious(0.2, 0.15))
    log.add(3, "plain", "validation", mean_ious(0.9, 0.9))
    log.add(4, "plain", "validation", mean_ious(0.3, math.nan))
    return log


def test_stages_stand_in_the_order_of_the_run(job, log, tmp_path):
    summary = write_summary(tmp_path, job, log, "cold_start", RECORD, {"total": 1.5}, FOUND)
    assert list(summary["held_out"].items()) == [
        ("cold_start", {"mean_iou": 0.1, "sampled": {"mean_iou": 0.05}}),
        ("timestamp", {"mean_iou": 0.2, "sampled": {"mean_iou": 0.15}}),
        ("plain", {"mean_iou": 0.3}),  # what is not a number is left out
    ]
    assert summary["phases"] == [
        {"name": "timestamp", "start_step": 0, "end_step": 2},
        {"name": "plain", "start_step": 2, "end_step": 4},
    ]


def test_the_file_holds_what_is_returned(job, log, tmp_path):
    summary = write_summary(tmp_path, job, log, "cold_start", RECORD, {"total": 1.5}, FOUND)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert (summary["name"], summary["seed"], summary["timings_s"]) == ("tiny", 0, {"total": 1.5})
    assert summary["cold_start"]["steps"] == 40 and summary["cold_start"]["stopped_because"] == "reached"
    assert summary["data"] == FOUND
    assert summary["versions"]["torch"] and summary["versions"]["python"].startswith("3.")
    assert not list(tmp_path.glob(".summary*"))


def test_a_run_without_held_out_clips_or_cold_start(job, tmp_path):
    log = RunLog(tmp_path, columns(job.reward.term_names))
    summary = write_summary(tmp_path, job, log, "start", None, {}, {})
    assert summary["held_out"] == {} and summary["cold_start"] is None
    assert [phase["name"] for phase in summary["phases"]] == ["timestamp", "plain"]


def test_training_time_is_that_of_the_logged_steps_and_looks(job, tmp_path):
    log = RunLog(tmp_path, columns(job.reward.term_names))
    log.add(1, "timestamp", "train", {"time/step_s": 0.5, "time/rollout_s": 0.2})
    log.add(1, "timestamp", "validation", {"time/validation_s": 2.0})
    log.add(2, "timestamp", "train", {"time/step_s": 0.25})
    assert training_s(log) == 2.75  # 0.5 + 2.0 + 0.25: the rollout is part of its step
