"""`summary.json`: what a run reached, read back from its own log, so that a resumed run sums up all of it."""

import json
import math
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museg.files import version_of, write_whole
from museg.metrics.keys import HELD_OUT_SCORES, MODES, held_out_key
from museg.training.checkpoints import complete_checkpoints
from museg.training.cold_start import ColdStartRecord
from museg.training.job import TrainingJob
from museg.training.run_log import RunLog

SUMMARY_FILE = "summary.json"
PACKAGES = ("museg", "torch", "transformers", "lightning", "hydra-core", "decord", "av")


def write_summary(
    run_dir: Path,
    job: TrainingJob,
    log: RunLog,
    start_name: str,
    cold_start: ColdStartRecord | None,
    timings_s: Mapping[str, float],
    found: Mapping[str, Any],
) -> dict[str, Any]:
    """Write `summary.json` in one move and return its content; `found` is what the data turned out to be like."""
    stages = {start_name: 0} | job.schedule.ends()
    rows = {int(row["step"]): row for row in log.rows() if row["kind"] == "validation"}
    summary = {
        "name": job.name,
        "seed": job.seed,
        "held_out": {stage: _scores(rows[step]) for stage, step in stages.items() if step in rows},
        "phases": [
            {"name": name, "start_step": job.schedule.start_of(name), "end_step": end}
            for name, end in job.schedule.ends().items()
        ],
        "cold_start": None if cold_start is None else dict(cold_start.__dict__),
        "data": dict(found),
        "timings_s": dict(timings_s),
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
    }
    write_whole(run_dir / SUMMARY_FILE, json.dumps(summary, indent=2))
    return summary


def finished_summary(job: TrainingJob, run_dir: Path) -> dict[str, Any] | None:
    """The summary of a run that has nothing left to do, else None."""
    file, checkpoints = run_dir / SUMMARY_FILE, complete_checkpoints(run_dir)
    if not file.exists() or not checkpoints or checkpoints[-1].global_step < job.schedule.total_steps:
        return None
    return json.loads(file.read_text(encoding="utf-8"))


def training_s(log: RunLog) -> float:
    """Seconds of all logged steps and looks at the held-out clips; a step that was done twice counts once."""
    return sum(float(row[key] or 0) for row in log.rows() for key in ("time/step_s", "time/validation_s"))


def _scores(row: Mapping[str, str]) -> dict[str, Any]:
    """The greedy scores of one validation row by name, and those of sampled answers together under `sampled`."""
    greedy, sampled = (_finite(row, mode) for mode in MODES)
    return greedy | ({"sampled": sampled} if sampled else {})


def _finite(row: Mapping[str, str], mode: str) -> dict[str, float]:
    cells = {name: row.get(held_out_key(mode, name)) for name in HELD_OUT_SCORES}
    values = {name: float(cell) for name, cell in cells.items() if cell}
    return {name: value for name, value in values.items() if math.isfinite(value)}
