"""How a sweep ends: all members run whatever becomes of the others, and those that failed are told at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from museg.config.failures import ERROR_FILE, RunFailed, failures_of, link_log, write_error

ROOT = Path(__file__).resolve().parents[2]


class SweepOutcome(Callback):
    """Notes the failure of a member in its folder, where Hydra would end the sweep, and tells of all after the last.

    On SLURM `on_job_start` and `on_job_end` happen in the jobs, the other two where the sweep was started.
    """

    def __init__(self) -> None:
        self.waiting: Any = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Prepare for a launcher of submitit: its jobs find this package, and all of them are waited for."""
        if not is_submitit(config.hydra.launcher):
            return
        from museg.config.slurm_queue import Waiting  # needs the extra `slurm`

        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        self.waiting = Waiting()
        self.waiting.begin()

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Make the log of a SLURM job part of its run folder."""
        if "SUBMITIT_EXECUTOR" in os.environ:
            import submitit

            job = submitit.JobEnvironment()
            if job.global_rank == 0:
                link_log(Path(config.hydra.runtime.output_dir), job.paths.stdout)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: Any) -> None:
        """Write down what a member died of, and let Hydra go on."""
        if config.hydra.mode != RunMode.MULTIRUN:
            return
        run_dir = Path(config.hydra.runtime.output_dir)
        if job_return.status != JobStatus.FAILED:
            (run_dir / ERROR_FILE).unlink(missing_ok=True)  # of an earlier attempt
            return
        try:
            _ = job_return.return_value  # raises what the member raised
        except Exception as error:
            if not (isinstance(error, RunFailed) and (run_dir / ERROR_FILE).exists()):  # or it is told already
                write_error(run_dir, error)
        job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Tell of every failed member, its folder and its log, and exit with 1 where there is one."""
        lost = self.waiting.lost.values() if self.waiting is not None else ()
        failures = failures_of(Path(config.hydra.sweep.dir), lost)
        if failures:
            print(f"{len(failures)} of the sweep's members failed:", *failures, sep="\n", file=sys.stderr)
            sys.exit(1)


def is_submitit(launcher: DictConfig) -> bool:
    """Whether a launcher hands its members to submitit."""
    return "submitit" in launcher.get("_target_", "")
