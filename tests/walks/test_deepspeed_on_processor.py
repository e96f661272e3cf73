"""DeepSpeed, where it is installed, trains as one process does. It works on a processor; only Lightning wants a GPU."""

import argparse
import os
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.walks import process_pairs, tiny_runs
from tests.walks.test_number_of_processes import (
    DDP,
    NUM_GENERATIONS,
    NUM_PROMPTS,
    NUM_STEPS,
    RUN,
    Asked,
    assert_same_training,
    cut_back,
    record,
    train_as,
    train_each,
)

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(find_spec("deepspeed") is None, reason="DeepSpeed is not installed (extra: gpu)"),
]
ON_PROCESSOR = ("trainer.accelerator=cpu", "trainer.precision=32-true", "trainer.num_threads=1")


def train_without_gpu(runs: list) -> None:
    """Train, with Lightning's question for a GPU taken off in this process."""
    os.environ["DS_ACCELERATOR"] = "cpu"
    from lightning.pytorch.accelerators.cpu import CPUAccelerator
    from lightning.pytorch.strategies import deepspeed

    deepspeed.CUDAAccelerator = CPUAccelerator
    deepspeed._validate_device_index_selection = lambda devices: None
    deepspeed.argparse = types.SimpleNamespace(Namespace=lambda device_rank: argparse.Namespace(device_rank=-1))
    train_each(runs)


def train_sharded(num_processes: int, outputs: Path, *asked: Asked) -> list[Path]:
    """Make runs by DeepSpeed with so many processes; returns their folders."""
    devices = (f"trainer.devices={num_processes}", *ON_PROCESSOR)
    runs = [(tiny_runs.settings(outputs, *RUN, *run.overrides, *devices), run.run_dir, run.recorded) for run in asked]
    codes = process_pairs.exit_codes_of(train_without_gpu, runs, num_processes=num_processes)
    assert codes == [0] * num_processes
    return [run.run_dir for run in asked]


def test_zero_trains_as_one_process_and_resumes_on_another_number(outputs, tmp_path):
    recorded = tmp_path / "recorded.json"
    record(recorded, run_seed=0, num_steps=NUM_STEPS, num_prompts=NUM_PROMPTS, num_generations=NUM_GENERATIONS)
    [alone] = train_as(1, outputs, Asked(tmp_path / "alone", DDP, recorded))
    stages = ("zero2", "zero3")
    pairs = [Asked(tmp_path / stage, (f"trainer={stage}",), recorded) for stage in stages]
    for run_dir in train_sharded(2, outputs, *pairs):
        assert_same_training(run_dir, alone)
    resumed = [
        Asked(cut_back(tmp_path / stage, tmp_path / f"{stage}_by_one"), (f"trainer={stage}", "resume=auto"), recorded)
        for stage in stages
    ]
    for run_dir in train_sharded(1, outputs, *resumed):
        assert_same_training(run_dir, alone)
        assert list(run_dir.glob("checkpoints/*/state.ckpt/universal"))
