"""How a sweep ends: all members run whatever becomes of the others, and those that failed are told at the end."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from museg.config.failures import Failure, RunFailed, failures_of, link_log, write_error
from museg.error_files import FolderTaken, error_file, error_files

ROOT = Path(__file__).resolve().parents[2]
IN_JOB = "SUBMITIT_EXECUTOR"
"""What submitit sets in its jobs."""


class SweepOutcome(Callback):
    """Notes the failure of a member in its folder, where Hydra would end the sweep, and tells of all after the last.

    On SLURM `on_job_start` and `on_job_end` happen in the jobs, the other two where the sweep was started.
    """

    def __init__(self) -> None:
        self.waiting: Any = None
        self.refused: dict[Path, Failure] = {}

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Prepare for a launcher of submitit: its jobs find this package, and all of them are waited for."""
        if not is_submitit(config.hydra.launcher):
            return
        from submitit.core.utils import JobPaths  # needs the extra `slurm`

        from museg.config.slurm_queue import Waiting

        keep_private(JobPaths.get_first_id_independent_folder(config.hydra.launcher.submitit_folder))
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.waiting = Waiting()
        self.waiting.begin()

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Make the log of a SLURM job part of its run folder.

        A new run finds none there: it will be refused, unless SLURM has started its job again, which has linked it.
        """
        run_dir = Path(config.hydra.runtime.output_dir)
        if IN_JOB not in os.environ or (config.get("resume", "") is None and (run_dir / "config.yaml").exists()):
            return
        import submitit

        link_log(run_dir, submitit.JobEnvironment().paths.stdout, rank())

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Write down what a member died of, and let Hydra go on.

        The result of a SLURM job is that of its first process; another one that fails ends without, so that it is seen.
        So does one that was refused as its folder holds another run, where it may write nothing down.
        """
        run_dir = Path(config.hydra.runtime.output_dir)
        if job_return.status != JobStatus.FAILED:
            error_file(run_dir, rank()).unlink(missing_ok=True)
            return
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        try:
            _ = job_return.return_value  # raises what the member raised
        except Exception as error:
            cause = (error.__cause__ or error) if isinstance(error, RunFailed) else error
            has_told = isinstance(error, RunFailed) and not rank() and error_file(run_dir) in error_files(run_dir)
            if isinstance(cause, FolderTaken):
                self.refused[run_dir] = Failure(run_dir, str(cause), None)
            elif not has_told:
                write_error(run_dir, cause, rank())
        if IN_JOB in os.environ and (rank() or run_dir in self.refused):
            sys.exit(1)
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Tell of every failed member, its folder and its log, and exit with 1 where there is one."""
        lost = self.waiting.lost.values() if self.waiting is not None else ()
        found = failures_of(Path(config.hydra.sweep.dir), lost)
        failures = [*(failure for failure in found if failure.run_dir not in self.refused), *self.refused.values()]
        if failures:
            print(f"{len(failures)} of the sweep's members failed:", *failures, sep="\n", file=sys.stderr)
            if "resume" in config:
                folder = shlex.quote(config.hydra.sweep.dir)
                print(f"go on by the same command with: resume=auto hydra.sweep.dir={folder}", file=sys.stderr)
            sys.exit(1)


def rank() -> int:
    """This process' number among those that torchrun or SLURM started for one run."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def keep_private(folder: Path) -> None:
    """Make a folder that only this user can enter, or exit: who can write a pickle that a job loads runs code in it.

    One that is there already, which may be the current folder, stays as it is; where others may write to it, or in what
    is made in it, it is refused.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    try:
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            found = folder.stat()
            may_enter, may_write = found.st_mode & 0o011, found.st_mode & 0o022
            is_own = found.st_uid == os.getuid()
            if not is_own or may_write or (may_enter << 1) & ~umask:
                remedy = f", or keep others out of this one: chmod go-rwx {shlex.quote(str(folder))}" if is_own else ""
                who = "others" if is_own else "its owner, who is not you,"
                sys.exit(
                    f"error: {who} may write where jobs would lie, and so run code in them: {folder}. Choose a new "
                    "folder as hydra.launcher.submitit_folder, such as outputs/jobs/%j (it is made so that only you "
                    f"can enter){remedy}"
                )
    except OSError as error:  # Hydra would go on
        sys.exit(f"error: there must be a folder for jobs that only you can enter: {error}")


def is_submitit(launcher: DictConfig) -> bool:
    """Whether a launcher hands its members to submitit."""
    return "submitit" in launcher.get("_target_", "")
