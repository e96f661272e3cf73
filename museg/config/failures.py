"""What a run leaves behind when it fails, and how a sweep tells of its failed members."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from museg.error_files import error_file, error_files
from museg.files import write_whole

LOG_LINK = "slurm.log"


class RunFailed(Exception):
    """A run ended early for a reason its user can act on; the message says which. `exit_code` is for the shell."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Failure:
    """A member that did not finish: its folder, unless it ended before it had one, why it ended, its log, and where
    more stands about the reason."""

    run_dir: Path | None
    reason: str
    log: Path | None
    error_file: Path | None = None

    def __str__(self) -> str:
        lines = [str(self.run_dir or "a member without a folder"), *self.reason.splitlines()]
        if self.error_file is not None:
            lines.append(f"where it arose: {self.error_file}")
        if self.log is not None:
            lines.append(f"log: {self.log}")
        return "\n  ".join(lines)


def write_error(run_dir: Path, error: BaseException, rank: int = 0) -> Path:
    """Write what went wrong, an empty line, and where it arose; of an earlier attempt nothing stays."""
    place = f"process {rank}: " if rank else ""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    where = "".join(traceback.format_exception(error))
    return write_whole(error_file(run_dir, rank), f"{place}{kind}{error}\n\n{where}\n")


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
        files = error_files(run_dir)
        if files:
            text = files[0].read_text(encoding="utf-8", errors="replace")
            reasons.append(text.partition("\n\n")[0])
        if (ended := lost_by_log.pop(link.resolve(), None)) is not None:
            reasons.append(ended.reason)
        if reasons:
            log = link if link.is_symlink() else None
            found.append(Failure(run_dir, "\n".join(reasons), log, files[0] if files else None))
    return [*found, *lost_by_log.values()]
