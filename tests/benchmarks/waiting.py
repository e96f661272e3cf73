"""How long the steps of `python train.py` wait for video. Part of `tests.benchmarks.video`.

The default job on the synthetic set, but for the supervised start, trains once with an empty folder of frames and once
with the one that the first run filled. The share is time/wait_s over time/step_s, all steps together, the first of each
fit included.
"""

import csv
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import comparison

ROOT = Path(__file__).resolve().parents[2]
GOALS = {"cold, goal": 0.05, "warm, goal": 0.005}


def waiting_row(num_steps: int, cache_mib: int, *extra: str) -> dict[str, Any]:
    """What two runs tell, with `cache_mib` of clips kept in memory; `extra` are further overrides."""
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for state in ("cold", "warm"):
            folder = Path(name)
            rows = trained(folder / state, *overrides_of(folder / "frames", num_steps, cache_mib), *extra)
            values |= {f"{state}, {key}": value for key, value in waiting_of(rows).items()}
    shape = f"{num_steps} steps, {cache_mib} MiB of clips in memory"
    return comparison("waiting for video", shape, ours="train.py", values=values | GOALS)


def overrides_of(frames: Path, num_steps: int, cache_mib: int) -> list[str]:
    """Two fits of half the steps each; the folder of frames; hardly any held-out clips."""
    return [
        "cold_start=none",
        f"phase.steps={num_steps // 2}",
        f"phase.total_steps={num_steps}",
        "validation.num_examples=16",
        f"video.cache_mib={cache_mib}",
        f"video.frame_cache_dir={frames}",
    ]


def trained(run_dir: Path, *overrides: str) -> list[dict[str, str]]:
    """The rows of training steps that one run of the program itself logs."""
    command = [sys.executable, "train.py", f"hydra.run.dir={run_dir}", *overrides]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "train"]


def waiting_of(rows: Sequence[Mapping[str, str]]) -> dict[str, float]:
    """The share, the longest wait, and what a step took."""
    waits_s, steps_s = ([float(row[f"time/{name}_s"]) for row in rows] for name in ("wait", "step"))
    return {
        "share": round(sum(waits_s) / sum(steps_s), 5),
        "longest wait, seconds": round(max(waits_s), 4),
        "seconds a step": round(sum(steps_s) / len(steps_s), 4),
    }
