"""A sweep's folder as typed values: which members it has, how far each of them is, and what they differ in."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from museg.report.facts import steps_done, unfinished_because
from museg.report.metrics_table import COLD_START, read_metrics
from museg.report.run_folder import RunRecord
from museg.report.sweep_settings import SEED, Settings, varied
from museg.report.tolerant import Defects, clip, listed, mapping, read_json, read_yaml, text_of

PLAN_FILE, ERROR_FILE, CONFIG_FILE = "sweep.json", "error.txt", "config.yaml"
NUMBERED = re.compile(r"(\d{1,6})_")
"""Beginning of the name that Hydra gives a member's folder."""
PATIENCE_S = 120.0
PATIENCE_STEPS = 10
"""A member that wrote nothing for so long, and for so many of its slowest steps, counts as stopped."""
MAX_MEMBERS = 2_000
MAX_ERROR_CHARS = 300


class Status(Enum):
    """How far a member is."""

    FINISHED = "finished"
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"
    WAITING = "not started"


@dataclass(frozen=True)
class SweepMember:
    """One run of a sweep, planned or found."""

    number: int | None
    """From 0, as Hydra counts; None for a folder whose name does not say."""
    run: RunRecord | None
    """What its folder holds; None where it has none."""
    status: Status
    note: str
    """Why it is not finished."""
    seed: str
    settings: Settings | None
    """What it does differently from others; None where neither a configuration nor a plan tells."""

    @property
    def folder(self) -> str:
        """The name of its folder, empty where there is none."""
        return self.run.run_dir.name if self.run else ""


@dataclass(frozen=True)
class SweepRecord:
    """Everything of a sweep that its report uses; members in the order of their numbers."""

    folder: Path
    name: str
    members: tuple[SweepMember, ...]
    has_plan: bool
    """Whether it is known which members there are to be."""
    defects: Defects


def read_sweep(folder: Path, now_s: float | None = None) -> SweepRecord:
    """Read a sweep's folder at the time `now_s` (by default, now), whatever state its members are in.

    Raises:
        ValueError: `folder` is no folder, or is a single run, or holds and plans no run.
    """
    if not folder.is_dir():
        raise ValueError(f"sweep={str(folder)!r} is not a folder; give one below outputs/sweeps/")
    if (folder / CONFIG_FILE).is_file():
        raise ValueError(f"sweep={str(folder)!r} is a single run; give the folder that holds it and its siblings")
    defects = Defects()
    plans = _plans(folder, defects)
    runs = [_outline(path, defects) for path in _run_folders(folder, defects)]
    slots = _slots(runs, len(plans))
    if not slots:
        raise ValueError(f"sweep={str(folder)!r} holds no runs: no folder in it has a {CONFIG_FILE}")
    planned = [plans[number] if number is not None and number < len(plans) else {} for number, _ in slots]
    settings = varied([run.config if run else {} for _, run in slots], planned)
    now_s = time.time() if now_s is None else now_s
    members = tuple(
        SweepMember(number, run, *_progress(run, now_s), _seed(run, plan), found)
        for (number, run), plan, found in zip(slots, planned, settings, strict=True)
    )
    names = [text_of(run.config.get("name")) for run in runs if run.config.get("name")]
    return SweepRecord(folder, names[0] if names else folder.resolve().name, members, bool(plans), defects)


def _plans(folder: Path, defects: Defects) -> list[Mapping[str, str]]:
    """The planned overrides of every member, in order; none where the sweep left no plan."""
    members = listed((read_json(folder / PLAN_FILE, defects) or {}).get("members"))[:MAX_MEMBERS]
    return [{text_of(key): text_of(value) for key, value in mapping(member).items()} for member in members]


def _run_folders(folder: Path, defects: Defects) -> list[Path]:
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [path for path in inside if NUMBERED.match(path.name) or (path / CONFIG_FILE).is_file()]
    if len(found) > MAX_MEMBERS:
        defects.add(folder.name, f"sweep of more than {MAX_MEMBERS} members (the first ones are used)")
    return found[:MAX_MEMBERS]


def _outline(run_dir: Path, defects: Defects) -> RunRecord:
    """A run without its texts; what is damaged is counted under the name of its folder."""
    own = Defects()
    run = RunRecord(
        run_dir=run_dir,
        config=read_yaml(run_dir / CONFIG_FILE, own),
        summary=read_json(run_dir / "summary.json", own),
        metrics=read_metrics(run_dir / "metrics.csv", own),
        predictions={},
        completions={},
        num_completions=0,
        quarantine=(),
        defects=own,
    )
    for (file, reason), count in own.counts.items():
        defects.counts[f"{text_of(run_dir.name)}/{file}", reason] += count
    return run


def _slots(runs: Sequence[RunRecord], num_planned: int) -> list[tuple[int | None, RunRecord | None]]:
    """Every member by number: those with a folder, and those that are planned and have none yet."""
    numbered = [(NUMBERED.match(run.run_dir.name), run) for run in runs]
    found = [(int(match[1]) if match else None, run) for match, run in numbered]
    missing = set(range(num_planned)) - {number for number, _ in found}
    slots = [*found, *((number, None) for number in missing)]
    return sorted(slots, key=lambda slot: (slot[0] is None, slot[0] or 0, slot[1].run_dir.name if slot[1] else ""))


def _seed(run: RunRecord | None, plan: Mapping[str, str]) -> str:
    recorded = run.config.get(SEED) if run else None
    return text_of(plan.get(SEED) if recorded is None else recorded)


def _progress(run: RunRecord | None, now_s: float) -> tuple[Status, str]:
    """How far a run is, and why it is not finished: told by its files, and by how long ago it last wrote one."""
    if run is None:
        return Status.WAITING, "planned, has no folder yet"
    if unfinished_because(run) is None:
        return Status.FINISHED, ""
    error, written_s = run.run_dir / ERROR_FILE, _last_written_s(run.run_dir)
    if error.is_file() and error.stat().st_mtime >= written_s:
        return Status.FAILED, _reason(error)
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
