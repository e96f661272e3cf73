"""What a run leaves behind when it fails, and how a sweep tells of its failed members."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ERROR_FILE, ERRORS_OF_OTHERS = "error.txt", "error_[0-9]*.txt"
"""Every process has a file of its own: it alone writes that, and removes it when it starts again."""
LOG_LINK = "slurm.log"


class RunFailed(Exception):
    """A run ended early for a reason its user can act on; the message says which. `exit_code` is for the shell."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Failure:
    """A member that did not finish: its folder, unless it ended before it had one, why it ended, and its log."""

    run_dir: Path | None
    reason: str
    log: Path | None

    def __str__(self) -> str:
        lines = [str(self.run_dir or "a member without a folder"), *self.reason.splitlines()]
        if self.run_dir is not None and (files := error_files(self.run_dir)):
            lines.append(f"where it arose: {files[0]}")
        if self.log is not None:
            lines.append(f"log: {self.log}")
        return "\n  ".join(lines)


def write_error(run_dir: Path, error: BaseException, rank: int = 0) -> Path:
    """Write what went wrong, an empty line, and where it arose; what this process has told before stays first."""
    place = f"process {rank}: " if rank else ""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    file = error_file(run_dir, rank)
    where = "".join(traceback.format_exception(error))
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{place}{kind}{error}\n\n{where}\n")
    return file


def holds_another_run(run_dir: Path, resume: str | None) -> bool:
    """Whether a folder holds a run already when one begins there, which is refused unless it is to be continued.

    Such a run leaves nothing in the folder. A job that SLURM has started again continues.
    """
    is_again = int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0
    return resume is None and not is_again and (run_dir / "config.yaml").exists()


def error_file(run_dir: Path, rank: int = 0) -> Path:
    """Where a process writes what it died of: `error.txt`, or `error_1.txt` for process 1."""
    return run_dir / (f"error_{rank}.txt" if rank else ERROR_FILE)


def error_files(run_dir: Path) -> list[Path]:
    """What the processes of a run died of, the first to fail before the others: it is usually their cause."""
    files = [file for pattern in (ERROR_FILE, ERRORS_OF_OTHERS) for file in run_dir.glob(pattern) if file.is_file()]
    return sorted(files, key=lambda file: file.stat().st_mtime_ns)


def forget_errors(run_dir: Path, rank: int, num_processes: int) -> None:
    """Remove what this process died of in an earlier attempt; the first one, also those that had more processes."""
    error_file(run_dir, rank).unlink(missing_ok=True)
    for file in run_dir.glob(ERRORS_OF_OTHERS) if rank == 0 else ():
        number = file.stem.removeprefix("error_")
        if number.isdecimal() and int(number) >= num_processes:
            file.unlink(missing_ok=True)


def link_log(run_dir: Path, log: Path, rank: int = 0) -> None:
    """Let `slurm.log` of a run folder (`slurm_1.log` for process 1) lead to the log of the job that trains there."""
    link = run_dir / (f"slurm_{rank}.log" if rank else LOG_LINK)
    link.unlink(missing_ok=True)
    link.symlink_to(os.path.relpath(log, run_dir))


def failures_of(sweep_dir: Path, lost: Iterable[Failure] = ()) -> list[Failure]:
    """Every failed member of a sweep, in the order of their folders: those that said why, and `lost`, left no result.

    A lost job is known by its log alone; the folder that links to it is the member's. What it said stands first.
    """
    lost_by_log = {failure.log.resolve(): failure for failure in lost if failure.log is not None}
    found = []
    for run_dir in sorted(path for path in sweep_dir.glob("[0-9]*") if path.is_dir()):
        link = run_dir / LOG_LINK
        reasons = []
        if files := error_files(run_dir):
            text = files[0].read_text(encoding="utf-8", errors="replace")
            reasons.append(text.partition("\n\n")[0])
        if (ended := lost_by_log.pop(link.resolve(), None)) is not None:
            reasons.append(ended.reason)
        if reasons:
            found.append(Failure(run_dir, "\n".join(reasons), link if link.is_symlink() else None))
    return [*found, *lost_by_log.values()]
