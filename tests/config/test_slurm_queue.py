"""How the states of jobs are read from the queue, and how jobs without a result are noted."""

import os

import pytest
from submitit.core.utils import cloudpickle_dump
from submitit.slurm.slurm import SlurmExecutor, SlurmJob

from museg.config import slurm_queue


def watcher_of(*job_ids: str) -> slurm_queue.QueueWatcher:
    watcher = slurm_queue.QueueWatcher()
    for job_id in job_ids:
        watcher.register_job(job_id)
    return watcher


def test_states_come_from_the_queue():
    """A job that may still go on is running, whatever it is doing; one that SLURM has forgotten has ended."""
    watcher = watcher_of("7_0", "7_1", "7_2", "7_3", "8", "9")
    queue = b"7_0 RUNNING\n7_1 FAILED\n7_2 CONFIGURING\n8 PREEMPTED\n9 OUT_OF_MEMORY\n6 COMPLETED\n"
    assert {job: info["State"] for job, info in watcher.read_info(queue).items()} == {
        "7_0": "RUNNING",
        "7_1": "FAILED",
        "7_2": "RUNNING",
        "7_3": "no longer known to SLURM",
        "8": "RUNNING",
        "9": "OUT_OF_MEMORY",
    }


def test_the_queue_is_asked_only_while_jobs_run():
    assert watcher_of()._make_command() is None
    watcher = watcher_of("7")
    assert watcher._make_command()[0] == "squeue"
    watcher._finished.add("7")
    assert watcher._make_command() is None


def test_a_job_that_slurm_has_forgotten_is_waited_for_no_longer():
    watcher = watcher_of("7")
    watcher._make_command = lambda: ["true"]
    assert watcher.is_done("7", mode="force")


@pytest.fixture
def waiting(monkeypatch) -> slurm_queue.Waiting:
    """Waits for jobs of which the queue knows that all have ended; submitit is as before afterwards."""
    monkeypatch.setattr(SlurmJob, "watcher", SlurmJob.watcher)
    monkeypatch.setattr(SlurmJob, "results", SlurmJob.results)
    monkeypatch.setattr(SlurmExecutor, "_submit_command", SlurmExecutor._submit_command)
    monkeypatch.setattr(SlurmJob, "_results_timeout_s", 0)
    monkeypatch.setattr(slurm_queue.QueueWatcher, "_make_command", lambda self: ["echo", "7_1 CANCELLED"])
    begun = slurm_queue.Waiting()
    begun.begin()
    return begun


def test_what_left_no_result_is_noted_and_the_others_are_waited_for(waiting, tmp_path, capsys):
    jobs = [SlurmJob(tmp_path / "%j", f"7_{number}") for number in range(3)]
    for job, outcome in ((jobs[0], ("success", "what it returned")), (jobs[2], ("error", "Trace\nImportError: no x"))):
        job.paths.folder.mkdir()
        cloudpickle_dump(outcome, job.paths.result_pickle)
    jobs[1].paths.folder.mkdir()
    returned = [job.results()[0] for job in jobs]
    assert returned[0] == "what it returned"
    assert [result.return_value for result in returned[1:]] == [None, None]
    assert {job_id: failure.reason for job_id, failure in waiting.lost.items()} == {
        "7_1": "ended without a result (CANCELLED): killed, cancelled, out of memory or out of time",
        "7_2": "ImportError: no x",
    }
    assert waiting.lost["7_1"].log == jobs[1].paths.stdout
    another_process = SlurmJob(tmp_path / "%j", "7_3", tasks=[1])
    another_process.paths.folder.mkdir()
    another_process.results()
    assert waiting.lost["7_3"].log.name == "7_3_0_log.out"  # by which the folder of the member is known
    assert capsys.readouterr().out.count("Submitted as job 7;") == 1


def test_what_sbatch_refuses_is_told_with_the_remedy(waiting, tmp_path, capfd, monkeypatch):
    """A stand-in for sbatch that refuses a partition, in the words of the real one."""
    for name in ("sbatch", "srun"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2; exit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    executor = SlurmExecutor(tmp_path / "jobs")
    with pytest.raises(SystemExit, match=r"SLURM refused the jobs.*partition, account.*`sinfo`.*sacctmgr"):
        executor.submit(print)
    assert "sbatch: error: invalid partition specified: gpu" in capfd.readouterr().err
