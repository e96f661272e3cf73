"""Runs of method=meco with several processes, and by DeepSpeed: heads, their scale and new rows learn as in one."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from museg.config.exporting import Asked, export_run
from museg.meco.exported import WEIGHTS_FILE, load_heads
from museg.meco.tokens import structural_ids
from museg.policy.loading import load_checkpoint
from museg.training.checkpoints import complete_checkpoints
from tests.walks import process_pairs, tiny_runs
from tests.walks.test_number_of_processes import DDP, RUN, assert_same_training, cut_back
from tests.walks.without_gpu import train_without_gpu

pytestmark = [pytest.mark.distributed, pytest.mark.cluster]

NUM_STEPS, SAVED_STEP = 6, 4
STAGES = (
    *("method=meco", "prompt=meco_tiny", "phase=meco", "dataset.order=by_phase"),
    *("phase.steps=1", "phase.phases.instruction.num_steps=1", f"phase.total_steps={NUM_STEPS}"),
    *(f"phase.phases.{name}.prompts_per_step=null" for name in ("alignment", "instruction", "time_sensitive")),
    *(f"phase.phases.{name}.lr=1e-2" for name in ("alignment", "instruction", "time_sensitive")),
    *(f"checkpoint.every_steps={SAVED_STEP}", "checkpoint.keep=9", "validation.every_steps=6"),
    *("prompts_per_step=5", "optimizer.weight_decay=0.1"),  # which may not touch the rows that do not train
)
ROWS = (*STAGES, "phase.phases.time_sensitive.trains.embeddings=new_rows")
ADAPTER = (*STAGES, "model.lora.rank=4")
"""As in the release: an adapter on the decoder, and embeddings that train in full."""
ON_PROCESSOR = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_threads=1")
ZERO2, ZERO3 = ("trainer=zero2",), ("trainer=zero3",)
BY_TWO = {
    "ddp": (*DDP, *ROWS),
    "zero2": (*ZERO2, *ROWS),
    "zero2_adapter": (*ZERO2, *ADAPTER),
    "zero3": (*ZERO3, *ROWS),
}
ALONE = {"alone": (*DDP, *ROWS), "alone_adapter": (*DDP, *ADAPTER)}
RESUMED = ("zero2", "zero2_adapter")


@pytest.fixture(scope="module")
def folder(outputs) -> Path:
    """Where the runs lie: of two processes, then of one, alone or resumed."""
    found = outputs / "meco_processes"
    train(2, outputs, found, BY_TWO)
    for name in RESUMED:
        cut_back(found / name, found / f"{name}_by_one")
    train(1, outputs, found, ALONE | {f"{name}_by_one": (*BY_TWO[name], "resume=auto") for name in RESUMED})
    return found


def train(num_processes: int, outputs: Path, folder: Path, runs: dict[str, tuple[str, ...]]) -> None:
    """Make runs with so many processes."""
    told = (f"trainer.devices={num_processes}", *ON_PROCESSOR)
    asked = [
        (tiny_runs.settings(outputs, *RUN, *overrides, *told), folder / name, None) for name, overrides in runs.items()
    ]
    codes = process_pairs.exit_codes_of(train_without_gpu, asked, [], num_processes=num_processes, timeout_s=300)
    assert codes == [0] * num_processes


def heads_of(run_dir: Path) -> dict:
    return load_file(run_dir / "exported" / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("several", "one"),
    [
        ("ddp", "alone"),
        ("zero2", "alone"),
        ("zero2_adapter", "alone_adapter"),
        ("zero3", "alone"),
        ("zero2_by_one", "alone"),
        ("zero2_adapter_by_one", "alone_adapter"),
    ],
)
def test_heads_scale_and_rows_learn_as_in_one_process(several, one, folder):
    assert_same_training(folder / several, folder / one, NUM_STEPS)
    ours, theirs = heads_of(folder / several), heads_of(folder / one)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert float((weight - theirs[name]).abs().max()) < 1e-5, name


@pytest.mark.parametrize("name", ["alone", "zero2", "zero2_adapter"])
def test_they_moved(name, folder):
    """By twenty times the tolerance between two checkpoints of the last stage; rows of old tokens only if they may."""
    saved = complete_checkpoints(folder / name)
    before, after = (saved[place].weights() for place in (-2, -1))
    assert [checkpoint.global_step for checkpoint in saved] == [1, 2, SAVED_STEP, NUM_STEPS]
    moved = {key: (after[key] - before[key]).abs() for key in after if key.startswith("heads.") or "embed_tok" in key}
    assert all(float(change.max()) > 2e-4 for change in moved.values())
    rows = moved["model.model.language_model.embed_tokens.weight"].amax(dim=1)
    ids = structural_ids(load_checkpoint(str(folder / name / "exported")).tokenizer)
    assert all(rows[list(ids.kinds)] > 2e-4)
    assert int(rows.count_nonzero()) == 2 or "adapter" in name


@pytest.mark.parametrize("name", ["zero2", "zero2_adapter"])
def test_a_checkpoint_of_deepspeed_is_exported_as_the_run_has_exported_it(name, folder, tmp_path):
    export_run(Asked(folder / name, tmp_path / "exported"))
    again, there = (place / "exported" for place in (tmp_path, folder / name))
    for file in ("model.safetensors", WEIGHTS_FILE):
        ours, theirs = load_file(again / file), load_file(there / file)
        assert ours.keys() == theirs.keys() and all(ours[key].equal(theirs[key]) for key in ours)
    assert load_heads(again).facts == load_heads(there).facts
