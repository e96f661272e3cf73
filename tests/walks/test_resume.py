"""A run killed anywhere and resumed ends exactly like one that was never killed."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from museg.policy.loading import load_checkpoint
from museg.policy.reference import WEIGHTS_FILE as REFERENCE
from museg.training.checkpoints import complete_checkpoints
from tests.walks import tiny_runs

SAFE = "model.safetensors"
OVERRIDES = ("phase.steps=4", "phase.total_steps=8", "checkpoint.every_steps=2", "validation.every_steps=3")


@pytest.fixture(scope="module")
def straight(outputs) -> Path:
    """The run that nothing happens to."""
    run_dir = outputs / "straight"
    assert tiny_runs.exit_code_of(tiny_runs.train, tiny_runs.settings(outputs, *OVERRIDES), run_dir) == 0
    return run_dir


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train_until_step(run_settings: dict, run_dir: Path, step: int) -> None:
    """Train, and die after `step` steps are finished and logged, before anything is saved."""
    from museg.training.callbacks import Checkpointer

    saved = Checkpointer.on_train_batch_end

    def die_or_save(self, trainer, module, *args):
        if module.steps_done == step:
            die()
        saved(self, trainer, module, *args)

    Checkpointer.on_train_batch_end = die_or_save
    tiny_runs.train(run_settings, run_dir)


def train_until_checkpoint(run_settings: dict, run_dir: Path, step: int) -> None:
    """Train, and die when the file of this step's checkpoint is half written."""
    from museg.training import checkpoints

    def die_half_way(folder: Path) -> None:
        if folder.name == f".writing_{step:06d}":
            state = folder / checkpoints.STATE_FILE
            state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
            die()

    checkpoints.force_to_disk = die_half_way
    tiny_runs.train(run_settings, run_dir)


def train_until_boundary(run_settings: dict, run_dir: Path, step: int) -> None:
    """Train, and die between two fits: the first is saved, the second has not begun."""
    from museg.training.run import Run

    begun = Run.run_fit

    def die_or_begin(self, fit, *args):
        if fit.start_step == step:
            die()
        begun(self, fit, *args)

    Run.run_fit = die_or_begin
    tiny_runs.train(run_settings, run_dir)


def train_until_signal(run_settings: dict, run_dir: Path, step: int) -> None:
    """Train, and be asked to stop in the middle of a step."""
    from museg.training.museg_module import MusegModule
    from museg.training.stopping import Stopped

    updated = MusegModule.update

    def signal_and_update(self, at_step, *args):
        if at_step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return updated(self, at_step, *args)

    MusegModule.update = signal_and_update
    try:
        tiny_runs.train(run_settings, run_dir)
    except Stopped as stopped:
        os._exit(stopped.exit_code)


def assert_same_run(resumed: Path, straight: Path) -> None:
    ours, theirs = (load_file(folder / "exported" / "model.safetensors") for folder in (resumed, straight))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours), "final weights differ"
    assert tiny_runs.without_timings(resumed) == tiny_runs.without_timings(straight)
    assert (resumed / "completions.jsonl").read_text() == (straight / "completions.jsonl").read_text()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (resumed, straight)]
    assert summaries[0]["held_out"] == summaries[1]["held_out"]


@pytest.mark.parametrize(
    ("kill", "step"),
    [
        (train_until_step, 1),  # before the first checkpoint
        (train_until_step, 3),
        (train_until_step, 4),  # last step of the first phase, not saved
        (train_until_boundary, 4),
        (train_until_step, 5),  # first step of the second phase
        (train_until_checkpoint, 6),
        (train_until_step, 7),
    ],
)
def test_a_killed_run_resumes_exactly(kill, step, straight, outputs, tmp_path):
    run_dir = tmp_path / "killed"
    fresh = tiny_runs.settings(outputs, *OVERRIDES)
    assert tiny_runs.exit_code_of(kill, fresh, run_dir, step) == -signal.SIGKILL
    assert not (run_dir / "summary.json").exists()
    resumed = tiny_runs.settings(outputs, *OVERRIDES, "resume=auto")
    assert tiny_runs.exit_code_of(tiny_runs.train, resumed, run_dir) == 0
    assert_same_run(run_dir, straight)


@pytest.fixture(scope="module")
def frozen(straight) -> tuple[str, ...]:
    """Overrides of a run that starts where `straight` ended and leaves the vision tower as it is."""
    return (
        "model=qwen2_5_vl_3b",
        f"model.path={straight / 'exported'}",
        "model.frozen.vision=true",
        "model.frozen.projector=true",
        "cold_start=none",
        "phase.steps=3",
        "phase.total_steps=4",
        "checkpoint.every_steps=2",
        "validation.every_steps=3",
        "vision_features.cache_gib=0.01",
    )


def features_in(folder: Path) -> dict[str, int]:
    """Names of the features kept on disk, and when each was used last."""
    return {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}


def test_kept_features_change_nothing_when_a_run_resumes(frozen, straight, outputs, tmp_path):
    def settings(kept: str, *overrides: str) -> dict:
        return tiny_runs.settings(outputs, *frozen, f"vision_features.cache_dir={tmp_path / kept}", *overrides)

    assert tiny_runs.exit_code_of(tiny_runs.train, settings("whole_features"), tmp_path / "whole") == 0
    of_whole_run = features_in(tmp_path / "whole_features")
    assert tiny_runs.exit_code_of(train_until_step, settings("warm"), tmp_path / "killed", 3) == -signal.SIGKILL
    before = features_in(tmp_path / "warm")
    assert before.keys() < of_whole_run.keys()
    shutil.copytree(tmp_path / "killed", tmp_path / "killed_too")
    for kept, run_dir in {"warm": tmp_path / "killed", "cold": tmp_path / "killed_too"}.items():
        assert tiny_runs.exit_code_of(tiny_runs.train, settings(kept, "resume=auto"), run_dir) == 0
        assert_same_run(run_dir, tmp_path / "whole")
    after = features_in(tmp_path / "warm")
    assert after.keys() == of_whole_run.keys()
    assert any(after[name] > used for name, used in before.items())  # some came from the disk
    assert 0 < len(features_in(tmp_path / "cold")) < len(after)  # made anew: those that the rest of the run asked for

    ours, theirs = (load_file(folder / "exported" / "model.safetensors") for folder in (tmp_path / "whole", straight))
    changed = {name for name, weight in ours.items() if not weight.equal(theirs[name])}
    assert changed and not any("visual" in name for name in changed)


def test_sigterm_leaves_a_resumable_run(straight, outputs, tmp_path):
    run_dir = tmp_path / "asked"
    fresh = tiny_runs.settings(outputs, *OVERRIDES)
    assert tiny_runs.exit_code_of(train_until_signal, fresh, run_dir, 2) == 128 + signal.SIGTERM
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == ["step_000002", "step_000003"]
    resumed = tiny_runs.settings(outputs, *OVERRIDES, f"resume={run_dir}")
    assert tiny_runs.exit_code_of(tiny_runs.train, resumed, run_dir) == 0
    assert_same_run(run_dir, straight)


ADAPTER = (
    "phase.steps=2",
    "phase.total_steps=4",
    "checkpoint.every_steps=1",
    "validation.every_steps=3",
    "model.lora.rank=4",
    "model.lora.dropout=0.1",
)


@pytest.fixture(scope="module")
def adapter(outputs) -> Path:
    """A run that trains an adapter, and that nothing happens to."""
    tiny_runs.train(tiny_runs.settings(outputs, *ADAPTER), outputs / "adapter")
    return outputs / "adapter"


def test_a_run_with_an_adapter_resumes_exactly(adapter, outputs, tmp_path):
    """Killed between its fits, then in the second one, whose reference is an adapter too."""
    run_dir = tmp_path / "killed"
    settings = tiny_runs.settings(outputs, *ADAPTER, "resume=auto")
    for kill, step in ((train_until_boundary, 2), (train_until_step, 4)):
        assert tiny_runs.exit_code_of(kill, settings, run_dir, step) == -signal.SIGKILL
        assert not (run_dir / "summary.json").exists()
    tiny_runs.train(settings, run_dir)
    assert_same_run(run_dir, adapter)
    for name in ("timestamp", "plain"):
        ours, theirs = (folder / "reference" / name / REFERENCE for folder in (run_dir, adapter))
        assert ours.read_bytes() == theirs.read_bytes()


def test_its_checkpoints_hold_the_adapter_alone(adapter, straight):
    small, whole = (complete_checkpoints(run_dir)[-1] for run_dir in (adapter, straight))
    assert all(".lora_" in name for name in small.weights())
    assert small.state_file.stat().st_size < 0.1 * whole.state_file.stat().st_size  # moments of the optimizer too
    first, second = (load_file(adapter / "reference" / name / REFERENCE) for name in ("timestamp", "plain"))
    assert not first and len(second) == len(small.weights())  # switched off, then the adapter of the boundary


def test_its_export_is_an_ordinary_model(adapter, straight):
    exported, whole = (load_file(run_dir / "exported" / SAFE) for run_dir in (adapter, straight))
    assert exported.keys() == whole.keys()
    base, model = load_file(adapter / "base" / SAFE), load_checkpoint(str(adapter / "exported")).model
    moved = {name for name, weight in model.state_dict().items() if name in base and not weight.equal(base[name])}
    assert len(moved) == 4 * 7 and all(".language_model.layers." in name for name in moved)  # layers x projections


def test_an_adapter_does_not_go_on_with_another_model(adapter, outputs, tmp_path):
    run_dir = shutil.copytree(adapter, tmp_path / "copy")
    (run_dir / "summary.json").unlink()
    weights = load_file(run_dir / "base" / SAFE)
    weights["model.visual.merger.ln_q.weight"] += 1
    save_file(weights, run_dir / "base" / SAFE)
    with pytest.raises(ValueError, match="this run's adapter was trained on another model"):
        tiny_runs.train(tiny_runs.settings(outputs, *ADAPTER, f"resume={run_dir}"), run_dir)


def test_a_finished_run_is_left_as_it_is(straight, outputs):
    before = tiny_runs.without_timings(straight)
    again = tiny_runs.settings(outputs, *OVERRIDES, "resume=auto")
    assert tiny_runs.exit_code_of(tiny_runs.train, again, straight) == 0
    assert tiny_runs.without_timings(straight) == before


def test_other_settings_are_refused_with_the_difference(straight, outputs):
    changed = tiny_runs.settings(outputs, *OVERRIDES, "resume=auto", "optimizer.lr=1e-3")
    with pytest.raises(ValueError, match=r"optimizer\.lr: .* there, 0\.001 now"):
        tiny_runs.train(changed, straight)
