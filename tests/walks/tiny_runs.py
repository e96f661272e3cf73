"""Small real runs for the walks: composed from `conf/`, trained in this process or in a child that may be killed."""

import csv
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir

from museg.config import registry  # noqa: F401  (importing it makes the schemas known)
from museg.config.validation import checked_settings

CONF = Path(__file__).resolve().parents[2] / "conf"

CLIPS = ("dataset.num_train_clips=64", "dataset.num_held_out_clips=16")

SMALL = (
    "validation.num_examples=16",
    "cold_start.num_eval_examples=16",
    "cold_start.target_mean_iou=0",  # the first evaluation is good enough: walks need gradients, not skill
    "cold_start.evaluate_every_steps=40",
    "cold_start.max_steps=40",
    "video.num_workers=0",
    "prompts_per_step=4",
    "rollout.num_generations=4",
)


def small_overrides(outputs: Path, *overrides: str) -> list[str]:
    """A small run on synthetic clips, and what is to differ; what is kept between runs lies below `outputs`."""
    kept = (
        f"dataset.root={outputs}/data",
        f"cold_start.cache_dir={outputs}/cold_start",
        f"video.frame_cache_dir={outputs}/frames",
    )
    return [*SMALL, *CLIPS, *kept, *overrides]


def checked(*overrides: str) -> dict[str, Any]:
    """Checked settings of `train.py` with these overrides."""
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        return checked_settings(compose("train", overrides=list(overrides)))


def settings(outputs: Path, *overrides: str) -> dict[str, Any]:
    """Checked settings of a small run on synthetic clips."""
    return checked(*small_overrides(outputs, *overrides))


def train(run_settings: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Train in this process; returns the summary."""
    import torch

    from museg.config.job import build_job
    from museg.training import run

    torch.set_num_threads(1)
    return run.train(build_job(run_settings), run_dir, run_settings["resume"])


def rows(run_dir: Path, kind: str | None = None) -> list[dict[str, str]]:
    """The rows of a run's metrics.csv, all or those of one kind."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if kind in (None, row["kind"])]


def without_timings(run_dir: Path, kind: str | None = None) -> list[dict[str, str]]:
    """The same rows without what the clock decides."""
    return [{key: cell for key, cell in row.items() if not key.startswith("time/")} for row in rows(run_dir, kind)]


def exit_code_of(target: Callable[..., Any], *args: Any, timeout_s: float = 240) -> int:
    """Run `target` in a process of its own; its exit code is -9 when it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["museg.training.run", "museg.config.job"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(timeout_s)
    assert process.exitcode is not None, f"{target.__name__} did not end within {timeout_s} s"
    return process.exitcode
