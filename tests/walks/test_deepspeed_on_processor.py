"""DeepSpeed trains as one process does. It works on a processor; only Lightning wants a GPU."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from museg.config.exporting import Asked as AskedFor
from museg.config.exporting import export_run
from museg.policy.export import export
from museg.policy.tiny import build_tiny
from museg.training.checkpoints import complete_checkpoints
from tests.walks import process_pairs, tiny_runs
from tests.walks.test_number_of_processes import (
    DDP,
    FSDP,
    NUM_GENERATIONS,
    NUM_PROMPTS,
    RUN,
    assert_same_training,
    cut_back,
    record,
    steps_of,
)
from tests.walks.without_gpu import train_without_gpu

pytestmark = [pytest.mark.distributed, pytest.mark.cluster]

NUM_STEPS = 5
SHORT = (
    "phase.steps=2",  # a restart between steps 2 and 3
    f"phase.total_steps={NUM_STEPS}",
    "checkpoint.every_steps=3",  # within the second fit
    "validation.every_steps=5",
)
ON_PROCESSOR = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_threads=1")
ZERO2, ZERO3, LOW = ("trainer=zero2",), ("trainer=zero3",), ("trainer.precision=bf16-mixed",)
ADAPTER = ("model.lora.rank=4",)
OFFLOAD = ("trainer.strategy.offload_optimizer=true",)
SUPERVISED = ("method=sft", "prompts_per_step=3", "trainer.micro_batch_prompts=1")  # two passes here, one there
PAIRS = {
    "zero2": ZERO2,
    "zero3": ZERO3,
    "zero2_offload": (*ZERO2, *OFFLOAD),
    "zero2_low": (*ZERO2, *LOW),
    "zero2_adapter": (*ZERO2, *ADAPTER),
    "zero3_adapter": (*ZERO3, *ADAPTER),
    "fsdp_adapter": (*FSDP, *ADAPTER),
    "zero3_frozen": (*ZERO3, *SUPERVISED),
}
BROKEN = {"broken_zero2": ZERO2, "broken_zero3": ZERO3, "broken_low": (*ZERO2, *LOW)}
ALONE = {"alone": DDP, "alone_adapter": (*DDP, *ADAPTER), "alone_frozen": (*DDP, *SUPERVISED)}
RESUMED = ("zero2", "zero3", "zero3_adapter")


@pytest.fixture(scope="module")
def folder(outputs) -> Path:
    """Where the runs lie: of two processes, then of one, alone or resumed."""
    found = outputs / "deepspeed"
    found.mkdir()
    sizes = {"num_steps": NUM_STEPS, "num_prompts": NUM_PROMPTS, "num_generations": NUM_GENERATIONS}
    record(found / "recorded", run_seed=0, **sizes)
    export(build_tiny(seed=0, num_layers=1, hidden_size=48, num_heads=2, intermediate_size=64), found / "model")
    train(2, outputs, found, PAIRS, BROKEN)
    resumed = {f"{name}_by_one": (*PAIRS[name], "resume=auto") for name in RESUMED}
    for name in RESUMED:
        cut_back(found / name, found / f"{name}_by_one")
    train(1, outputs, found, ALONE | resumed, {})
    return found


def train(num_processes: int, outputs: Path, folder: Path, runs: dict, broken: dict) -> None:
    """Make runs with so many processes."""

    def asked(name: str, overrides: tuple[str, ...]) -> tuple[dict, Path, Path]:
        shared = (*RUN, *SHORT, f"trainer.devices={num_processes}", *ON_PROCESSOR)
        if "frozen" in name:
            frozen = ("model.frozen.vision=true", "model.frozen.projector=true", "model.attention=sdpa")
            shared = [override for override in shared if not override.startswith("model.")]
            overrides = (*overrides, "model=qwen2_5_vl_3b", f"model.path={folder / 'model'}", *frozen)
        return tiny_runs.settings(outputs, *shared, *overrides), folder / name, folder / "recorded"

    asked_for = ([asked(*run) for run in some.items()] for some in (runs, broken))
    codes = process_pairs.exit_codes_of(train_without_gpu, *asked_for, num_processes=num_processes, timeout_s=300)
    assert codes == [0] * num_processes


@pytest.mark.parametrize(
    ("pair", "alone"),
    [
        ("zero2", "alone"),
        ("zero3", "alone"),
        ("zero2_offload", "alone"),
        ("zero2_adapter", "alone_adapter"),
        ("zero3_adapter", "alone_adapter"),
        ("fsdp_adapter", "alone_adapter"),
        ("zero3_frozen", "alone_frozen"),
        *((f"{name}_by_one", "alone_adapter" if "adapter" in name else "alone") for name in RESUMED),
    ],
)
def test_deepspeed_trains_as_one_process_and_resumes_on_another_number(pair, alone, folder):
    assert_same_training(folder / pair, folder / alone, NUM_STEPS)


def test_what_is_converted_for_another_number_of_processes_does_not_stay(folder):
    for name in RESUMED:
        [state, *_] = folder.glob(f"{name}_by_one/checkpoints/step_000003/state.ckpt")
        assert not {"universal", "latest_universal"} & {path.name for path in state.iterdir()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_gradient_that_is_not_finite_in_one_process_stops_both(name, folder):
    told = [(folder / f"{name}_{rank}").read_text() for rank in (0, 1)]
    assert told[0] == told[1] and "the gradient is not finite at step 1" in told[0]


def test_in_bfloat16_a_restart_begins_from_rounded_weights(folder):
    """As the release's second process does; the numbers stay near those of float32."""
    places = ("reference/plain/reference.safetensors", "exported/model.safetensors")
    weights = [load_file(folder / "zero2_low" / place) for place in places]
    assert {weight.dtype for held in weights for weight in held.values()} == {torch.bfloat16}
    pairs = zip(steps_of(folder / "zero2_low"), steps_of(folder / "alone"), strict=True)
    assert all(low["loss/grad_norm"] == pytest.approx(full["loss/grad_norm"], rel=0.1) for low, full in pairs)


@pytest.mark.parametrize("name", ["zero2_adapter", "zero3_adapter", "fsdp_adapter"])
def test_an_adapters_checkpoints_hold_it_alone(name, folder):
    for checkpoint in complete_checkpoints(folder / name):
        assert all(".lora_" in weight for weight in checkpoint.weights())


@pytest.mark.parametrize("name", ["zero2", "zero3", "zero2_adapter", "zero3_adapter"])
def test_a_checkpoint_is_exported_as_the_run_has_exported_it(name, folder, tmp_path):
    export_run(AskedFor(folder / name, tmp_path / "exported"))
    ours, theirs = (load_file(place / "exported" / "model.safetensors") for place in (tmp_path, folder / name))
    assert ours.keys() == theirs.keys() and all(ours[weight].equal(theirs[weight]) for weight in ours)
