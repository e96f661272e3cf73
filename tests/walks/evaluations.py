"""Small real evaluations for the walks: composed from `conf/`, run in this process or as the program itself."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from museg.config.command_line import composed_jobs
from museg.config.validation import checked_evaluation
from tests.config.options import CONF, ROOT
from tests.walks.tiny_runs import settings as training_settings
from tests.walks.tiny_runs import train

NUM_QUESTIONS = 48
BATCH_SIZE = 8
TIMEOUT_S = 240


def trained_run(outputs: Path) -> Path:
    """A run whose tiny model answers most questions in the right form, and some of them right."""
    run_dir = outputs / "trained_for_evaluation"
    if not (run_dir / "exported").exists():
        steps = (
            "phase.steps=1",
            "phase.total_steps=2",
            "cold_start.max_steps=80",
            "cold_start.evaluate_every_steps=80",
        )
        train(training_settings(outputs, *steps), run_dir)
    return run_dir


def small(outputs: Path, *overrides: str) -> list[str]:
    """Overrides for the synthetic benchmark with few clips, kept below `outputs`."""
    clips = (f"benchmark.clips.num_held_out_clips={NUM_QUESTIONS}", f"benchmark.clips.root={outputs}/data")
    clips += ("benchmark.video.frame_cache_gib=0",)  # how often videos are decoded is counted
    return ["benchmark=synthetic", *clips, "benchmark.video.num_workers=0", *overrides]


def evaluate(output: Path, *overrides: str) -> None:
    """Run an evaluation in this process, in the folder `output`."""
    from museg.config.evaluate import evaluate as run

    torch.set_num_threads(1)
    (config,) = composed_jobs([*overrides, f"output={output}"], CONF, "evaluate", is_multirun=False)
    run(checked_evaluation(config), output)


def start(output: Path, *overrides: str, **environment: str) -> subprocess.Popen:
    """The program itself, started."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "evaluate.py"), *overrides, f"output={output}"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_half_way(output: Path, *overrides: str, **environment: str) -> Path:
    """Start the program and kill it once it has answered a batch; returns the file that holds its answers."""
    shard = output / "predictions" / "shard_0_of_1.jsonl"
    process = start(output, *overrides, **environment)
    end_s = time.monotonic() + TIMEOUT_S
    while not shard.exists() or num_lines(shard) < 1 + BATCH_SIZE:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end_s
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert not (output / "metrics.json").exists()
    return shard


def num_lines(file: Path) -> int:
    """Lines that are written to their end."""
    return file.read_bytes().count(b"\n")


def assert_same_results(output: Path, expected: Path) -> None:
    """Two evaluations wrote the same to the byte."""
    for name in ("metrics.json", "predictions.jsonl", "samples.jsonl"):
        assert (output / name).read_bytes() == (expected / name).read_bytes(), name
