"""Whole small runs on a GPU, as train.py makes them."""

import math
import shutil
from importlib.util import find_spec

import pytest
import torch

from museg.commands.export import main as export_command
from museg.policy.loading import load_checkpoint
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.training.checkpoints import complete_checkpoints
from tests.benchmarks.gpu_checks import MODEL_TOLERANCE
from tests.policy.drawn_clips import drawn_batch
from tests.walks import tiny_runs

pytestmark = pytest.mark.filterwarnings("error::museg.policy.fallback.FellBack")  # nothing is done in a slower way

STEPS = ("phase.steps=2", "phase.total_steps=4", "checkpoint.every_steps=2", "checkpoint.keep=2")
SMALL = ("trainer=single_gpu", "validation.num_examples=8")


def trained(outputs, run_dir, *overrides):
    """A run on the GPU, after a short cold start, without which nothing earns a reward; its summary and its rows."""
    summary = tiny_runs.train(tiny_runs.settings(outputs, *STEPS, *SMALL, *overrides), run_dir)
    return summary, tiny_runs.rows(run_dir, "train")


@pytest.mark.parametrize("overrides", [(), ("trainer.compile=true",), ("objective.shared_prefix=false",)])
def test_a_run_trains_in_bfloat16_with_float32_masters(device, outputs, tmp_path, overrides):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    trained(outputs, tmp_path / "run", *overrides)
    late = assert_learnt(tmp_path / "run")
    assert {weight.dtype for weight in late.values()} == {torch.float32}
    # of each number at least the weight, its gradient and two moments have been there, in float32
    assert torch.cuda.max_memory_allocated() - before > 16 * sum(weight.numel() for weight in late.values())


def assert_learnt(run_dir):
    """All steps were made, and changed weights; returns the last ones."""
    rows = tiny_runs.rows(run_dir, "train")
    assert len(rows) == 4 and all(math.isfinite(float(row["loss/grad_norm"])) for row in rows)
    assert all(float(row["train/log_prob_gap"]) < 1.0 for row in rows)  # sampling and training agree, but for rounding
    early, late = (checkpoint.weights() for checkpoint in complete_checkpoints(run_dir))
    assert any(not early[name].equal(late[name]) for name in late)
    return late


@pytest.mark.parametrize(
    ("package", "overrides"),
    [
        ("deepspeed", ("trainer=zero2",)),
        ("deepspeed", ("trainer=zero3",)),
        ("torch", ("trainer=fsdp",)),
        ("torch", ("trainer=ddp",)),
        ("peft", ("model.lora.rank=4", "optimizer.lr=1.5e-3")),
        ("bitsandbytes", ("optimizer.kind=adamw_8bit",)),
        ("bitsandbytes", ("optimizer.kind=paged_adamw_8bit",)),
    ],
)
def test_every_trainer_and_optimizer_learns_on_one_gpu(device, outputs, tmp_path, package, overrides):
    """In a process of its own: what several processes would exchange stays set up in one that has ended."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    settings = tiny_runs.settings(outputs, *STEPS, *SMALL, *overrides, "trainer.devices=1")
    assert tiny_runs.exit_code_of(tiny_runs.train, settings, tmp_path / "run", timeout_s=600) == 0
    assert_learnt(tmp_path / "run")


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
    policy = load_checkpoint(str(tmp_path / "model"))
    log_probs = {}
    for place in ("cpu", device):
        policy.model.to(place)
        batch = drawn_batch(policy, 2)
        if place == "cpu":
            answers = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=8))
        completions = (answers.completion_ids.to(place), answers.completion_mask.to(place))
        with torch.no_grad():
            log_probs[place] = completion_log_probs(policy, batch, *completions, 1).cpu()[answers.completion_mask]
    assert len(log_probs["cpu"]) >= 2
    torch.testing.assert_close(log_probs[device], log_probs["cpu"], rtol=0, atol=MODEL_TOLERANCE)
    on_gpu = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=8))
    assert on_gpu.log_probs.isfinite().all() and any(on_gpu.texts)
