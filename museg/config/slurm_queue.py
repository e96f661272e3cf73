"""Waiting for the jobs of a sweep on any SLURM cluster, to the end of the last one. Needs the extra `slurm`.

submitit asks the accounting database how its jobs are, so where there is none it waits for a killed job for ever; and
its first killed job ends the waiting for all others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from submitit.core.utils import FailedJobError, UncompletedJobError
from submitit.slurm.slurm import SlurmExecutor, SlurmInfoWatcher, SlurmJob

from museg.config.failures import Failure

ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
)
"""States after which SLURM does not start a job again by itself."""

GONE = "no longer known to SLURM"
"""The state of a job that SLURM has forgotten, which it does some minutes after its end."""


class QueueWatcher(SlurmInfoWatcher):
    """Asks the queue, which every cluster has, for the states of all jobs of this user at once."""

    def _make_command(self) -> list[str] | None:
        if not self._registered - self._finished:
            return None
        return ["squeue", "--me", "--noheader", "--array", "--states=all", "--format=%i %T"]

    def read_info(self, string: bytes | str) -> dict[str, dict[str, str]]:
        """Job id -> {"State": ...}; every job that may go on counts as running."""
        text = string if isinstance(string, str) else string.decode()
        states = dict(line.split(maxsplit=1) for line in text.splitlines() if line.strip())
        told = {job_id: states.get(job_id, GONE).strip() for job_id in self._registered}
        return {job_id: {"State": state if state in {*ENDED, GONE} else "RUNNING"} for job_id, state in told.items()}


class Waiting:
    """Has submitit wait for every job and note, in `lost`, those that left no result; a refused job ends the sweep."""

    def __init__(self) -> None:
        self.lost: dict[str, Failure] = {}
        self.is_announced = False

    def begin(self) -> None:
        """Put the queue in the place of the accounting, and `results` in that of submitit's."""
        submitit_results, submit = SlurmJob.results, SlurmExecutor._submit_command
        SlurmJob.watcher = QueueWatcher(delay_s=60)
        SlurmJob.results = lambda job: self.results(job, submitit_results)
        SlurmExecutor._submit_command = lambda executor, command: submitted(submit, executor, command)

    def results(self, job: SlurmJob, submitit_results: Any) -> Sequence[JobReturn]:
        """What a job returned; of one that was killed, nothing, which is told of when all have ended."""
        self.announce(job)
        try:
            return submitit_results(job)
        except UncompletedJobError as error:
            first_log = job.paths.stdout.with_name(f"{job.job_id}_0_log.out")  # of the process that has the run folder
            self.lost.setdefault(job.job_id, Failure(None, _reason(job, error), first_log))
            return [JobReturn(status=JobStatus.COMPLETED)]
        except KeyboardInterrupt:
            print("\nNo longer waiting. The jobs go on; scancel ends them.", file=sys.stderr)
            sys.exit(130)

    def announce(self, job: SlurmJob) -> None:
        """Tell once where the jobs are."""
        if not self.is_announced:
            number = job.job_id.partition("_")[0]
            print(f"Submitted as job {number}; squeue shows it. Ctrl-C ends the waiting, scancel {number} the jobs.")
        self.is_announced = True


def submitted(submit: Callable[[SlurmExecutor, str], SlurmJob], executor: SlurmExecutor, command: str) -> SlurmJob:
    """What `submit` returns; where sbatch refuses, submitit has printed its words, and this adds what to change."""
    try:
        return submit(executor, command)
    except FailedJobError:
        sys.exit(
            "error: SLURM refused the jobs, see the line of sbatch above. Change what hydra.launcher asks for: "
            "partition, account, qos, constraint, timeout_min, nodes, gpus_per_node, cpus_per_task, mem_per_cpu. "
            "`sinfo` lists the partitions, `sacctmgr show assoc user=$USER format=account,partition,qos` your accounts"
        )


def _reason(job: SlurmJob, error: UncompletedJobError) -> str:
    if isinstance(error, FailedJobError):  # its trace is quoted between two rules
        return str(error).rpartition("\n---")[0].splitlines()[-1]
    state = job.watcher.get_state(job.job_id, mode="force")
    return f"ended without a result ({state}): killed, cancelled, out of memory or out of time"
