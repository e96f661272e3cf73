"""Runs that must coincide: settings that may change how long a run takes, and none of its numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from museg.training.checkpoints import complete_checkpoints
from tests.walks import tiny_runs

STEPS = ("phase.steps=2", "phase.total_steps=4", "checkpoint.every_steps=2", "validation.completions_every_steps=1")


@pytest.fixture(scope="module")
def train(outputs, tmp_path_factory):
    """Trains with overrides and returns the run folder."""

    def train_with(*overrides: str) -> Path:
        run_dir = tmp_path_factory.mktemp("run")
        tiny_runs.train(tiny_runs.settings(outputs, *STEPS, *overrides), run_dir)
        return run_dir

    return train_with


@pytest.fixture(scope="module")
def plain(train) -> Path:
    """The run that the others are compared with."""
    return train()


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    """Final weights, named as in the model."""
    trained = complete_checkpoints(run_dir)[-1].weights()
    return {name.removeprefix("model."): weight for name, weight in trained.items()}


def start_weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_file(run_dir / "reference" / "timestamp" / "reference.safetensors")


def completions(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "completions.jsonl").read_text().splitlines()]


def trained_ids(run_dir: Path) -> list[list[str]]:
    """Step by step, the examples trained on."""
    records = completions(run_dir)
    return [sorted({r["example_id"] for r in records if r["step"] == step}) for step in range(1, 5)]


def assert_same_training(run_dir: Path, other: Path) -> None:
    """Bit by bit: the rows of training, the sampled texts, the final weights."""
    assert tiny_runs.without_timings(run_dir, "train") == tiny_runs.without_timings(other, "train")
    assert completions(run_dir) == completions(other)
    ours, theirs = weights(run_dir), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "overrides",
    [
        ("video.num_workers=1",),
        ("video.num_workers=1", "video.steps_ahead=1", "video.cache_mib=0"),
        ("video.frame_cache_gib=0",),
        ("checkpoint.every_steps=1", "checkpoint.keep=1"),
        ("logger=tensorboard",),
        ("profile=true",),
    ],
    ids=lambda overrides: "_".join(text.rpartition(".")[2] for text in overrides),
)
def test_settings_that_change_no_number(overrides, train, plain):
    run_dir = train(*overrides)
    assert_same_training(run_dir, plain)
    assert tiny_runs.without_timings(run_dir) == tiny_runs.without_timings(plain)


def test_engines_write_the_same_and_learn_the_same_from_it(train, plain):
    # one step: in later ones a rounding difference may decide a sampled token, and with it all that follows
    run_dir = train("rollout.engine=plain", "phase.steps=1", "phase.total_steps=1")
    expected = [record for record in completions(plain) if record["step"] == 1]
    assert completions(run_dir) == expected and len({record["text"] for record in expected}) > 1
    ours, theirs = (tiny_runs.rows(folder, "train")[0] for folder in (run_dir, plain))
    assert float(theirs["loss/grad_norm"]) > 1e-3
    numbers = {key: cell for key, cell in theirs.items() if cell and key.startswith(("reward/", "loss/", "train/"))}
    assert len(numbers) > 15
    for key, cell in numbers.items():
        assert float(ours[key]) == pytest.approx(float(cell), abs=1e-5), key


def test_looking_at_held_out_clips_does_not_disturb_training(train, plain):
    assert_same_training(train("validation.every_steps=1", "validation.sampled=false"), plain)


def test_another_seed_is_another_run(train, plain):
    """Without this the comparisons above might be of runs that cannot differ."""
    run_dir = train("seed=1", "cold_start.max_steps=2", "cold_start.batch_size=4")
    assert completions(run_dir) != completions(plain)
    assert trained_ids(run_dir) != trained_ids(plain)


def gradients_of(train, monkeypatch, *overrides: str) -> tuple[Path, dict[str, torch.Tensor]]:
    """A run, and the gradient of its first reinforcement step before it is clipped."""
    from museg.training.museg_module import MusegModule
    from museg.training.phased_module import PhasedModule

    first: dict[str, torch.Tensor] = {}

    def remember_and_clip(self, step, example_ids):
        if not first:
            first.update({name: parameter.grad.clone() for name, parameter in self.model.named_parameters()})
        return PhasedModule.clip(self, step, example_ids)

    monkeypatch.setattr(MusegModule, "clip", remember_and_clip)
    return train(*overrides), first


@pytest.mark.parametrize("averaging", ["sequence", "token"])
def test_micro_batches_add_up_to_the_whole_step(averaging, train, monkeypatch):
    # one step: in later ones a rounding difference may decide a sampled token, and with it all that follows
    only_one = ("phase.steps=1", "phase.total_steps=1")
    shared = (f"objective.averaging={averaging}", "optimizer.warmup_steps=0", *only_one)
    together, whole = gradients_of(train, monkeypatch, *shared)
    apart, added_up = gradients_of(train, monkeypatch, *shared, "trainer.micro_batch_prompts=1")
    assert max(float(gradient.norm()) for gradient in whole.values()) > 1e-3
    for name, gradient in whole.items():
        assert torch.allclose(added_up[name], gradient, atol=1e-5, rtol=1e-4), name

    ours, theirs = (tiny_runs.rows(run_dir, "train")[0] for run_dir in (apart, together))
    for key in ("loss/total", "loss/kl", "loss/grad_norm", "reward/total", "train/completion_tokens"):
        assert float(ours[key]) == pytest.approx(float(theirs[key]), abs=1e-5), key

    start, ours, theirs = start_weights(together), weights(apart), weights(together)
    moved = sum(float((theirs[name] - start[name]).square().sum()) for name in start) ** 0.5
    apart_by = sum(float((theirs[name] - ours[name]).square().sum()) for name in start) ** 0.5
    assert apart_by < 0.05 * moved, (apart_by, moved)


def test_a_phase_of_no_steps_vanishes(train):
    """What is left is the run that never had it."""
    run_dir = train("phase.steps=0")
    assert {row["phase"] for row in tiny_runs.rows(run_dir, "train")} == {"plain"}
    assert [path.name for path in (run_dir / "reference").iterdir()] == ["plain"]
    never = train("phase=timestamp_never", "phase.total_steps=4")
    assert_same_training(run_dir, never)
    ours, theirs = (json.loads((folder / "summary.json").read_text()) for folder in (run_dir, never))
    assert ours["held_out"] == theirs["held_out"] and ours["phases"] == theirs["phases"]


def test_data_follow_the_step_wherever_the_phases_meet(train, plain):
    assert trained_ids(train("phase.steps=1")) == trained_ids(train("phase.steps=4")) == trained_ids(plain)


def test_one_fit_without_boundary_is_the_same_with_and_without_restart(train):
    runs = [train("phase.steps=4", f"phase.restart={restart}") for restart in ("true", "false")]
    assert_same_training(*runs)
