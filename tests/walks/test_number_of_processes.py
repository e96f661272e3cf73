"""How many processes train a run, and by which strategy, decides nothing but how sums are rounded."""

import csv
import gc
import json
import shutil
import weakref
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from safetensors.torch import load_file

from museg.policy.tiny_tokenizer import tiny_tokenizer
from museg.training.checkpoints import complete_checkpoints
from tests.walks import process_pairs, tiny_runs
from tests.walks.recorded_rollouts import RecordedEngine, record

pytestmark = [pytest.mark.distributed, pytest.mark.thorough]

NUM_STEPS, SAVED_STEP, NUM_PROMPTS, NUM_GENERATIONS = 20, 12, 14, 2
RUN = (
    "cold_start=none",
    *("model.num_layers=1", "model.hidden_size=48", "model.num_heads=2", "model.intermediate_size=64"),
    *("dataset.num_train_clips=24", "dataset.num_held_out_clips=4", "dataset.num_frames=10", "dataset.max_length_s=3"),
    *("dataset.max_target_segments=1", "dataset.max_distractors=1", "validation.num_examples=3"),
    f"prompts_per_step={NUM_PROMPTS}",  # of four processes two have four, and two have three
    "trainer.micro_batch_prompts=3",  # so two of the four have work for two backward passes, and two for one
    f"rollout.num_generations={NUM_GENERATIONS}",
    "rollout.max_new_tokens=6",
    "phase.steps=8",  # a restart between steps 8 and 9
    f"phase.total_steps={NUM_STEPS}",
    f"checkpoint.every_steps={SAVED_STEP}",  # within the second fit
    "checkpoint.keep=3",
    "validation.every_steps=20",
    "validation.sampled=false",
    "validation.completions_every_steps=1",
    "optimizer.warmup_steps=0",
    "optimizer.eps=1e-4",  # Adam divides by the gradient's size; where that is rounding noise, so would be the step
)
DDP = ("trainer.strategy=ddp",)
FSDP = ("trainer=fsdp", "trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_threads=1")


class Asked(NamedTuple):
    """A run to be made: recorded completions throughout, or sampled ones."""

    run_dir: Path
    overrides: tuple[str, ...]
    recorded: Path | None


def train_each(runs: list[tuple[dict, Path, Path | None]]) -> None:
    """Train one after the other, which saves the start of processes."""
    let_no_earlier_model_live_on()
    for run in runs:
        train_one(*run)
        gc.collect()  # what a whole run leaves is nobody's concern here


def train_one(run_settings: dict, run_dir: Path, recorded: Path | None) -> None:
    """Train on what was recorded, if anything was."""
    from museg.policy.rollout import ENGINES

    ENGINES["recorded"] = RecordedEngine(recorded) if recorded else ENGINES["cascade"]
    run_settings["rollout"]["engine"] = "recorded"
    tiny_runs.train(run_settings, run_dir)


def let_no_earlier_model_live_on() -> None:
    """From now on in this process a fit fails that trains beside the model of an earlier fit."""
    from museg.training.museg_module import MusegModule

    take_step, met = MusegModule.training_step, weakref.WeakSet()

    def watched(module: MusegModule, *arguments: object) -> dict:
        met.add(module.model)
        assert list(met) == [module.model], "an earlier model is still there"
        return take_step(module, *arguments)

    MusegModule.training_step = watched


def train_as(num_processes: int, outputs: Path, *asked: Asked) -> list[Path]:
    """Make runs with so many processes; returns their folders."""
    devices = f"trainer.devices={num_processes}"
    runs = [(tiny_runs.settings(outputs, *RUN, devices, *run.overrides), run.run_dir, run.recorded) for run in asked]
    codes = process_pairs.exit_codes_of(train_each, runs, num_processes=num_processes)
    assert codes == [0] * num_processes
    return [run.run_dir for run in asked]


@pytest.fixture(scope="module")
def recorded(outputs) -> Path:
    """Completions for every place of every step."""
    file = outputs / "recorded.json"
    sizes = {"num_steps": NUM_STEPS, "num_prompts": NUM_PROMPTS, "num_generations": NUM_GENERATIONS}
    record(file, run_seed=0, **sizes)
    return file


@pytest.fixture(scope="module")
def alone(outputs, recorded) -> Path:
    """The run of one process."""
    return train_as(1, outputs, Asked(outputs / "one", DDP, recorded))[0]


@pytest.fixture(scope="module")
def by_two(alone, outputs, recorded) -> list[Path]:
    """Runs of two processes: with whole weights, with half of them in each, and resumed on sampled completions."""
    return train_as(
        2,
        outputs,
        Asked(outputs / "two", DDP, recorded),
        Asked(outputs / "two_sharded", FSDP, recorded),
        Asked(cut_back(alone, outputs / "two_live"), (*DDP, "resume=auto"), None),
    )


@pytest.fixture(scope="module")
def by_four(alone, by_two, outputs, recorded) -> list[Path]:
    """Runs of four processes: from the beginning, resumed from two, and resumed on sampled completions."""
    return train_as(
        4,
        outputs,
        Asked(outputs / "four", DDP, recorded),
        Asked(cut_back(by_two[0], outputs / "two_then_four"), (*DDP, "resume=auto"), recorded),
        Asked(cut_back(alone, outputs / "four_live"), (*DDP, "resume=auto"), None),
    )


@pytest.fixture(scope="module")
def resumed_by_one(alone, by_two, outputs, recorded) -> list[Path]:
    """Runs of one process: resumed from two, and resumed on sampled completions."""
    return train_as(
        1,
        outputs,
        Asked(cut_back(by_two[0], outputs / "two_then_one"), (*DDP, "resume=auto"), recorded),
        Asked(cut_back(alone, outputs / "one_live"), (*DDP, "resume=auto"), None),
    )


def cut_back(run_dir: Path, to: Path) -> Path:
    """A copy of a run as it was when its last checkpoint but one, within the second fit, was the newest."""
    shutil.copytree(run_dir, to)
    shutil.rmtree(complete_checkpoints(to)[-1].folder)
    shutil.rmtree(to / "exported")
    (to / "summary.json").unlink()
    return to


def steps_of(run_dir: Path) -> list[dict[str, float]]:
    """What is measured in each step, but for durations."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "train"]
    kept = [{key: cell for key, cell in row.items() if "/" in key and not key.startswith("time/")} for row in rows]
    return [{key: float(cell) for key, cell in row.items() if cell} for row in kept]


def weights_of(run_dir: Path) -> dict:
    return load_file(run_dir / "exported" / "model.safetensors")


def assert_same_training(ours: Path, theirs: Path, num_steps: int = NUM_STEPS) -> None:
    """The same losses, norms and rewards in every step, and the same weights at the end, to 1e-5."""
    our_steps, their_steps = steps_of(ours), steps_of(theirs)
    assert len(our_steps) == len(their_steps) == num_steps
    for number, (our, their) in enumerate(zip(our_steps, their_steps, strict=True)):
        assert our == pytest.approx(their, abs=1e-5, rel=1e-5), f"step {number + 1}"
    our_weights, their_weights = weights_of(ours), weights_of(theirs)
    assert our_weights.keys() == their_weights.keys()
    for name, weight in our_weights.items():
        assert float((weight - their_weights[name]).abs().max()) < 1e-5, name


def test_the_runs_compared_here_learn_something(alone):
    """Or they would be equal for want of gradients: twenty times the tolerance between any two checkpoints."""
    assert all(step["loss/grad_norm"] > 1e-3 for step in steps_of(alone))
    saved = [checkpoint.weights() for checkpoint in complete_checkpoints(alone)]
    assert len(saved) == 3  # at the restart, within the second fit, and at the end
    for earlier, later in pairwise(saved):
        assert max(float((later[name] - weight).abs().max()) for name, weight in earlier.items()) > 2e-4


def test_two_and_four_processes_train_as_one(alone, by_two, by_four):
    assert_same_training(by_two[0], alone)
    assert_same_training(by_four[0], alone)


def test_shards_train_as_whole_weights(alone, by_two):
    assert_same_training(by_two[1], alone)


def test_saved_by_two_resumed_by_four_and_by_one(alone, by_four, resumed_by_one):
    assert_same_training(by_four[1], alone)
    assert_same_training(resumed_by_one[0], alone)


def test_shards_saved_by_two_resumed_by_three(alone, by_two, outputs, recorded, tmp_path):
    # five prompts, five and four: the third process has work for one backward pass, the others for two
    overrides = (*FSDP, "trainer.micro_batch_prompts=4", "resume=auto")
    [run_dir] = train_as(3, outputs, Asked(cut_back(by_two[1], tmp_path / "resumed"), overrides, recorded))
    assert_same_training(run_dir, alone)


def records_of(run_dir: Path) -> list[dict]:
    """What was sampled after `SAVED_STEP`, in order."""
    records = map(json.loads, (run_dir / "completions.jsonl").read_text().splitlines())
    return [record for record in records if record["step"] > SAVED_STEP]


def first_difference(ours: list[dict], theirs: list[dict]) -> int:
    """The place of the first completion that differs, their number where none does."""
    pairs = zip(ours, theirs, strict=True)
    return next((place for place, (our, their) in enumerate(pairs) if our["text"] != their["text"]), len(ours))


def test_sampled_live_they_agree_up_to_a_token(by_two, by_four, resumed_by_one, capsys):
    """Prompts and seeds are the same throughout; where rounding draws another token for once, that is told."""
    alone = records_of(resumed_by_one[1])
    assert len(alone) == (NUM_STEPS - SAVED_STEP) * NUM_PROMPTS * NUM_GENERATIONS
    for number, ours in {2: records_of(by_two[2]), 4: records_of(by_four[2])}.items():
        assert [record["example_id"] for record in ours] == [record["example_id"] for record in alone]
        place = first_difference(ours, alone)
        assert place >= NUM_PROMPTS * NUM_GENERATIONS  # the first step is sampled from one and the same checkpoint
        assert ours[:place] == alone[:place]
        with capsys.disabled():
            print(f"\n{number} processes and 1, sampled live: {told(ours, alone, place)}", end="")


def told(ours: list[dict], theirs: list[dict], place: int) -> str:
    """Where two runs part."""
    if place == len(ours):
        return f"all {place} completions are the same"
    our, their = (tiny_tokenizer().tokenize(records[place]["text"]) for records in (ours, theirs))
    same = next((at for at, (a, b) in enumerate(zip(our, their, strict=False)) if a != b), min(len(our), len(their)))
    return f"completion {place} (step {ours[place]['step']}) differs first in its token {same}: {our} and {their}"
