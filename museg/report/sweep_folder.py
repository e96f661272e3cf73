"""A sweep's folder as typed values: which members it has, how far each of them is, and what they differ in."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museg.report.metrics_table import read_metrics
from museg.report.run_folder import RunRecord
from museg.report.sweep_progress import CONFIG_FILE, Status, progress
from museg.report.sweep_settings import SEED, Settings, varied
from museg.report.tolerant import Defects, listed, mapping, read_json, read_yaml, text_of

PLAN_FILE = "sweep.json"
NUMBERED = re.compile(r"(\d{1,6})_")
"""Beginning of the name that Hydra gives a member's folder."""
MAX_MEMBERS = 2_000


Slot = tuple[int | None, RunRecord | None, Mapping[str, str]]
"""A member's number, what its folder holds, and what its sweep's plan says of it."""


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

    def path_from(self, start: Path) -> str:
        """The way to its folder from another one, empty where it has none."""
        return os.path.relpath(self.run.run_dir, start) if self.run else ""


@dataclass(frozen=True)
class SweepRecord:
    """Everything of a sweep, or of several read as one, that its report uses; members in the order of their numbers."""

    name: str
    members: tuple[SweepMember, ...]
    has_plan: bool
    """Whether it is known which members there are to be."""
    baseline: str
    """The setting that its plan records as the one to compare with (`phase.steps=400`), empty where it records none."""
    defects: Defects


def is_sweep(folder: Path) -> bool:
    """Whether a folder holds runs, or is going to, and is none itself."""
    if (folder / CONFIG_FILE).is_file():
        return False
    return any((folder / name).is_file() for name in (PLAN_FILE, "multirun.yaml")) or any(
        folder.glob(f"*/{CONFIG_FILE}")
    )


def read_sweep(folder: Path, now_s: float | None = None, more: Sequence[Path] = ()) -> SweepRecord:
    """Read a sweep's folder at the time `now_s` (by default, now), whatever state its members are in.

    more: folders of sweeps whose members are to stand beside those of the first, such as the same with other seeds.

    Raises:
        ValueError: a folder is none, or is a single run, or holds and plans no run.
    """
    defects = Defects()
    plans = [_plan(one, defects) for one in (folder, *more)]
    slots = [slot for one, plan in zip((folder, *more), plans, strict=True) for slot in _slots(one, plan, defects)]
    runs = [run for _, run, _ in slots if run]
    settings = varied([run.config if run else {} for _, run, _ in slots], [planned for _, _, planned in slots])
    now_s = time.time() if now_s is None else now_s
    members = tuple(
        SweepMember(number, run, *progress(run, now_s), _seed(run, planned), found)
        for (number, run, planned), found in zip(slots, settings, strict=True)
    )
    names = [text_of(run.config.get("name")) for run in runs if run.config.get("name")]
    baselines = [text_of(plan.get("baseline")) for plan in plans if plan.get("baseline")]
    return SweepRecord(
        name=names[0] if names else folder.resolve().name,
        members=members,
        has_plan=all(_planned(plan) for plan in plans),
        baseline=baselines[0] if baselines else "",
        defects=defects,
    )


def _plan(folder: Path, defects: Defects) -> Mapping[str, Any]:
    """What the sweep recorded as it started; nothing where it did not."""
    if not folder.is_dir():
        raise ValueError(f"sweep={str(folder)!r} is not a folder; give one below outputs/sweeps/")
    if (folder / CONFIG_FILE).is_file():
        raise ValueError(f"sweep={str(folder)!r} is a single run; give the folder that holds it and its siblings")
    return read_json(folder / PLAN_FILE, defects) or {}


def _planned(plan: Mapping[str, Any]) -> list[Mapping[str, str]]:
    """The planned overrides of every member, in order."""
    members = listed(plan.get("members"))[:MAX_MEMBERS]
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


def _slots(folder: Path, plan: Mapping[str, Any], defects: Defects) -> list[Slot]:
    """Every member by number: those with a folder, and those that are planned and have none yet."""
    planned = dict(enumerate(_planned(plan)))
    runs = [_outline(path, defects) for path in _run_folders(folder, defects)]
    numbered = [(NUMBERED.match(run.run_dir.name), run) for run in runs]
    found = [(int(match[1]) if match else None, run) for match, run in numbered]
    missing = planned.keys() - {number for number, _ in found}
    slots = [
        (number, run, planned.get(number, {})) for number, run in [*found, *((number, None) for number in missing)]
    ]
    if not slots:
        raise ValueError(f"sweep={str(folder)!r} holds no runs: no folder in it has a {CONFIG_FILE}")
    return sorted(slots, key=lambda slot: (slot[0] is None, slot[0] or 0, slot[1].run_dir.name if slot[1] else ""))


def _seed(run: RunRecord | None, plan: Mapping[str, str]) -> str:
    recorded = run.config.get(SEED) if run else None
    return text_of(plan.get(SEED) if recorded is None else recorded)
