"""Whole small runs on a GPU, as train.py makes them."""

import math
import shutil

import pytest
import torch

from museg.commands.export import main as export_command
from museg.policy.loading import load_checkpoint
from museg.training.checkpoints import complete_checkpoints
from tests.walks import tiny_runs

STEPS = ("phase.steps=2", "phase.total_steps=4", "checkpoint.every_steps=2", "checkpoint.keep=2")
SMALL = ("trainer=single_gpu", "validation.num_examples=8")


def trained(outputs, run_dir, *overrides):
    """A run on the GPU, after a short cold start, without which nothing earns a reward; its summary and its rows."""
    summary = tiny_runs.train(tiny_runs.settings(outputs, *STEPS, *SMALL, *overrides), run_dir)
    return summary, tiny_runs.rows(run_dir, "train")


@pytest.mark.parametrize("overrides", [(), ("trainer.compile=true",), ("objective.shared_prefix=false",)])
def test_a_run_trains_in_bfloat16_with_float32_masters(device, outputs, tmp_path, overrides):
    torch.cuda.reset_peak_memory_stats()
    _, rows = trained(outputs, tmp_path / "run", *overrides)
    assert len(rows) == 4 and all(math.isfinite(float(row["loss/grad_norm"])) for row in rows)
    assert all(float(row["train/log_prob_gap"]) < 1.0 for row in rows)  # sampling and training agree, but for rounding
    assert torch.cuda.max_memory_allocated() > 0
    early, late = (checkpoint.weights() for checkpoint in complete_checkpoints(tmp_path / "run"))
    assert {weight.dtype for weight in late.values()} == {torch.float32}
    assert any(not early[name].equal(late[name]) for name in late)


def test_a_run_that_is_resumed_goes_on_as_if_it_had_not_stopped(device, outputs, tmp_path):
    """Up to what a GPU adds in no fixed order."""
    trained(outputs, tmp_path / "whole")
    parts = shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (parts / "summary.json").unlink()
    shutil.rmtree(parts / "checkpoints" / "step_000004")
    _, rows = trained(outputs, parts, "resume=auto")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    expected, found = (complete_checkpoints(folder)[-1] for folder in (tmp_path / "whole", parts))
    assert found.global_step == 4
    for name, weight in expected.weights().items():
        torch.testing.assert_close(found.weights()[name], weight, rtol=0, atol=1e-3, msg=name)


def test_what_was_trained_here_is_exported_and_answers(device, outputs, tmp_path):
    trained(outputs, tmp_path / "run")
    assert export_command([f"run={tmp_path / 'run'}", f"output={tmp_path / 'model'}"]) == 0
    policy = load_checkpoint(str(tmp_path / "model"), dtype="bfloat16")
    assert policy.model.to(device).dtype == torch.bfloat16
