import json

import numpy as np
import pytest

from museg.report.run_folder import read_run
from museg.temporal.segments import Segment


def test_a_finished_run_is_read_whole(finished_run):
    run = read_run(finished_run)
    assert run.summary["seed"] == 3
    assert list(run.predictions) == ["cold_start", "plain", "timestamp"]
    assert len(run.predictions["plain"]["greedy"]) == 24
    assert not run.defects.counts


def test_series_keep_kinds_apart(finished_run):
    metrics = read_run(finished_run).metrics
    steps, values = metrics.series("train/mean_iou", "train")
    assert steps.tolist() == list(range(1, 901))
    assert not np.isnan(values).any()
    # One validation before the first step, then one every 50 steps; the cold start counts its own steps.
    assert metrics.series("held_out/greedy/mean_iou", "validation")[0].tolist() == list(range(0, 901, 50))
    assert metrics.series("held_out/greedy/mean_iou", "cold_start")[0].tolist() == list(range(50, 451, 50))
    assert len(metrics.series("no/such_key", "train")[0]) == 0


def test_a_damaged_log_keeps_its_good_cells(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,phase,kind,cold_start_step,loss/total\n1,a,train,,0.5\n2,a,train,,nan\n3,a,train,,<b>\n4,a,train,,inf\n",
        encoding="utf-8",
    )
    run = read_run(tmp_path)
    assert [array.tolist() for array in run.metrics.series("loss/total", "train")] == [[1.0], [0.5]]
    assert run.defects.counts == {
        ("metrics.csv", "non-finite number"): 2,
        ("metrics.csv", "cell that is no number"): 1,
    }


def test_hostile_segments_are_counted(tmp_path):
    (tmp_path / "predictions").mkdir()
    segments = [[1, 2], [1], "3-4", [None, 2], [5, 4], {"a": 1}] + [[0, 1]] * 1000
    line = {"example_id": 7, "mode": "greedy", "targets": 5, "segments": segments, "iou": "high", "query": ["q"]}
    (tmp_path / "predictions" / "end.jsonl").write_text(json.dumps(line), encoding="utf-8")
    run = read_run(tmp_path)
    prediction = run.predictions["end"]["greedy"]["7"]
    assert prediction.segments[:2] == (Segment(1.0, 2.0), Segment(5.0, 4.0))  # reversed ones are the model's own fault
    assert len(prediction.segments) == 200 - 4
    assert (prediction.targets, prediction.iou, prediction.query) == ((), None, "['q']")
    assert run.defects.counts["end.jsonl", "segment that is no pair of numbers"] == 4


def test_completions_keep_the_best_and_the_worst_of_a_prompt(tmp_path):
    rows = [
        {"step": 1, "example_id": f"train:{prompt}", "text": f"{prompt}/{place}", "reward": reward}
        for prompt in range(5)
        for place, reward in enumerate([1.0, 3.0, None, 2.0, 0.5])
    ]
    (tmp_path / "completions.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    run = read_run(tmp_path)
    assert run.num_completions == 25
    # Three prompts; of each the reward 3.0 (place 1) and the one without a number (place 2), which ranks lowest.
    assert [c.text for c in run.completions[1]] == ["0/1", "0/2", "1/1", "1/2", "2/1", "2/2"]


def test_a_long_completion_log_is_thinned_evenly(tmp_path):
    with (tmp_path / "completions.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"step": step, "example_id": "a", "text": "t"}) + "\n" for step in range(2000))
    run = read_run(tmp_path)
    assert run.num_completions == 2000
    assert 200 <= len(run.completions) <= 400
    assert min(run.completions) == 0
    assert max(run.completions) > 1900


def test_quarantine_rows_of_any_shape(tmp_path):
    rows = [
        {"video": "a.mp4", "example_ids": ["x:1"], "reasons": {"decord": "no stream", "pyav": "no moov"}, "step": 3},
        {"video": "b.mp4", "example_ids": None, "reasons": "gone", "step": "three"},
    ]
    (tmp_path / "quarantine.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    first, second = read_run(tmp_path).quarantine
    assert first.reasons == ("decord: no stream", "pyav: no moov")
    assert (second.example_ids, second.reasons, second.step) == ((), ("gone",), None)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"is not a folder; give the folder that holds metrics\.csv"):
        read_run(tmp_path / "absent")
