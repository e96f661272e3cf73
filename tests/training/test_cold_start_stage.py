"""The supervised start of a run: taken over from another, or told of when it fails."""

import pytest

from museg.training.cold_start import ColdStartModule
from museg.training.cold_start_stage import ColdStartFailed
from tests.training.test_cold_start import record_of, settings
from tests.walks import tiny_runs


def test_the_second_run_takes_the_first_ones_result(outputs, tmp_path, monkeypatch):
    tiny_runs.train(settings(outputs, tmp_path / "kept"), tmp_path / "first")
    monkeypatch.delattr(ColdStartModule, "training_step")  # a cold start could not run any more
    other = settings(outputs, tmp_path / "kept", "reward=maximum", "video.num_workers=1", "name=other")
    tiny_runs.train(other, tmp_path / "second")
    assert len(list((tmp_path / "kept").iterdir())) == 1
    reference = "reference/timestamp/reference.safetensors"
    assert (tmp_path / "first" / reference).read_bytes() == (tmp_path / "second" / reference).read_bytes()
    assert record_of(tmp_path / "first") == record_of(tmp_path / "second")
    curves = [tiny_runs.rows(tmp_path / run, "cold_start") for run in ("first", "second")]
    assert [row["cold_start_step"] for row in curves[0]] == ["4"]
    assert [row["loss/total"] for row in curves[0]] == [row["loss/total"] for row in curves[1]]


def test_failing_says_why_and_what_to_do_and_is_remembered(outputs, tmp_path, monkeypatch):
    out_of_reach = settings(outputs, tmp_path / "kept", "cold_start.target_mean_iou=0.99")
    told = r"gave up after 6 supervised steps: held-out mean IoU 0\.\d+ had not reached 0\.99.*cold_start\.max_steps"
    with pytest.raises(ColdStartFailed, match=told):
        tiny_runs.train(out_of_reach, tmp_path / "first")
    assert not (tmp_path / "first" / "summary.json").exists()
    # Looked at every four steps, and once more when the six were used up.
    assert [row["cold_start_step"] for row in tiny_runs.rows(tmp_path / "first")] == ["4", "6"]
    monkeypatch.delattr(ColdStartModule, "training_step")
    with pytest.raises(ColdStartFailed, match=told):
        tiny_runs.train(out_of_reach, tmp_path / "second")
