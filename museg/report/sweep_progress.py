"""How far a member of a sweep is, told by its files and by how long ago it last wrote one."""

from enum import Enum
from pathlib import Path

import numpy as np

from museg.error_files import error_files
from museg.report.facts import steps_done, unfinished_because
from museg.report.metrics_table import COLD_START
from museg.report.run_folder import RunRecord
from museg.report.tolerant import clip, mapping, text_of

CONFIG_FILE = "config.yaml"
PATIENCE_S = 120.0
PATIENCE_STEPS = 10
"""A member that wrote nothing for so long, and for so many of its slowest steps, counts as stopped."""
MAX_ERROR_CHARS = 300


class Status(Enum):
    """How far a member is."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    WAITING = "not started"


def progress(run: RunRecord | None, now_s: float) -> tuple[Status, str]:
    """How far a run is, and why it is not finished."""
    if run is None:
        return Status.WAITING, "planned, has no folder yet"
    if unfinished_because(run) is None:
        return Status.FINISHED, ""
    errors, written_s = error_files(run.run_dir), _last_written_s(run.run_dir)
    if errors and errors[-1].stat().st_mtime >= written_s:
        return Status.FAILED, _reason(errors[0])
    if not (run.run_dir / CONFIG_FILE).is_file():
        return Status.WAITING, f"its folder has no {CONFIG_FILE} yet"
    age_s = max(0.0, now_s - written_s)
    status = Status.RUNNING if age_s <= _patience_s(run) else Status.STOPPED
    return status, f"{_steps(run)}, last wrote {_ago(age_s)}"


def _last_written_s(run_dir: Path) -> float:
    """When the run last wrote; its pages and pictures are drawn by others too."""
    files = [run_dir / name for name in (CONFIG_FILE, "metrics.csv", "cold_start.json", "completions.jsonl")]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def _reason(file: Path) -> str:
    """What the first paragraph of an error file says; where it arose comes after that."""
    with file.open("rb") as opened:
        text = text_of(opened.read(8_000).decode("utf-8", errors="replace")).strip()
    return clip(" ".join(text.partition("\n\n")[0].split()), MAX_ERROR_CHARS) or "without a message"


def _patience_s(run: RunRecord) -> float:
    seconds = [run.metrics.columns.get(key, np.array([])) for key in ("time/step_s", "time/validation_s")]
    slowest_s = max((float(np.nanmax(found)) for found in seconds if np.isfinite(found).any()), default=0.0)
    return max(PATIENCE_S, PATIENCE_STEPS * slowest_s)


def _steps(run: RunRecord) -> str:
    if steps_done(run):
        total = mapping(run.config.get("phase")).get("total_steps")
        return f"{steps_done(run)} of {text_of(total) or '?'} steps"
    return "in the cold start" if COLD_START in run.metrics.kind else "before its first step"


def _ago(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s ago"
    return f"{seconds / 60:.0f} min ago" if seconds < 7200 else f"{seconds / 3600:.0f} h ago"
