"""Versions of the program that run at the same time, each on a core of its own. Linux only.

Half an hour of a shared machine is not like the next one. Two programs that run at once have the same one, and change
cores from round to round, should one core be slower.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TOLD_CHARACTERS = 2000
"""Of what a failed program wrote last."""
LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Command:
    """`python *arguments` in the folder `tree`, whose modules it imports; what it says goes into the file `log`."""

    tree: Path
    arguments: Sequence[str]
    log: Path


def own_cores() -> list[int]:
    """The cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def run_round(commands: Mapping[str, Command], cores: Sequence[int], turn: int) -> None:
    """Run all commands, each pinned to a core of its own; as many at a time as there are cores.

    Rounds with another `turn` put them on other cores, or on one core into another order. SystemExit, and the end of
    all, when one fails.
    """
    names = list(commands)
    names = names[turn % len(names) :] + names[: turn % len(names)]
    for start in range(0, len(names), len(cores)):
        _run_at_once({name: commands[name] for name in names[start : start + len(cores)]}, cores)


def _run_at_once(commands: Mapping[str, Command], cores: Sequence[int]) -> None:
    started: dict[str, subprocess.Popen] = {}
    try:
        for (name, command), core in zip(commands.items(), cores, strict=False):
            started[name] = _started(command, core)
        while any(process.poll() is None for process in started.values()):
            _check(commands, started)
            time.sleep(LOOK_EVERY_S)
        _check(commands, started)
    finally:
        for process in started.values():
            process.terminate()  # does nothing to one that has ended
            process.wait()


def _check(commands: Mapping[str, Command], started: Mapping[str, subprocess.Popen]) -> None:
    for name, process in started.items():
        if process.poll():
            said = commands[name].log.read_text("utf-8", errors="replace")[-TOLD_CHARACTERS:]
            raise SystemExit(f"{name} ended with exit code {process.returncode}:\n{said}")


def _started(command: Command, core: int) -> subprocess.Popen:
    with command.log.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command.arguments],
            cwd=command.tree,
            env=os.environ | {"PYTHONPATH": str(command.tree), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(os.sched_setaffinity, 0, {core}),
        )


def has_commit(repository: Path, commit: str) -> bool:
    """Whether the history that is here reaches back to it."""
    return _git(repository, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


@contextmanager
def worktree(repository: Path, commit: str, folder: Path) -> Iterator[Path]:
    """The files of a commit in `folder`, which must not be there yet, as long as the block runs.

    SystemExit where the commit is not here.
    """
    if not has_commit(repository, commit):
        raise SystemExit(
            f"commit {commit} is not in the history of {repository}, which may be a shallow clone; "
            "`git fetch --unshallow` brings the rest"
        )
    made = _git(repository, "worktree", "add", "--detach", str(folder), commit)
    if made.returncode:
        raise SystemExit(f"no worktree of {commit}: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        _git(repository, "worktree", "remove", "--force", str(folder))


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=repository, capture_output=True, text=True)
