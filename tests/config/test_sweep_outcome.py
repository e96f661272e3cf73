"""A failing member is noted where Hydra would end the sweep, and told of at the end."""

import os

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from museg.config.failures import RunFailed, failures_of
from museg.config.sweep_outcome import SweepOutcome, keep_private
from museg.error_files import FolderTaken


def hydra_config(sweep_dir, member: str, mode: RunMode = RunMode.MULTIRUN):
    return OmegaConf.create(
        {
            "hydra": {
                "mode": mode,
                "launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
                "sweep": {"dir": str(sweep_dir)},
                "runtime": {"output_dir": str(sweep_dir / member)},
            }
        }
    )


def failed(error: Exception) -> JobReturn:
    job = JobReturn(overrides=["seed=1"], status=JobStatus.FAILED)
    job.return_value = error
    return job


def end_of(sweep_dir, member: str, job: JobReturn) -> JobReturn:
    """A member begins and ends so."""
    (sweep_dir / member).mkdir(exist_ok=True)
    outcome, config = SweepOutcome(), hydra_config(sweep_dir, member)
    outcome.on_job_start(config)
    outcome.on_job_end(config, job)
    return job


def test_what_a_member_raised_is_noted_and_told_at_the_end(tmp_path, capsys):
    assert end_of(tmp_path, "0_a", failed(MemoryError("no GiB left"))).return_value is None
    end_of(tmp_path, "1_b", JobReturn(status=JobStatus.COMPLETED))
    with pytest.raises(SystemExit) as caught:
        SweepOutcome().on_multirun_end(hydra_config(tmp_path, ""))
    assert caught.value.code == 1
    told = capsys.readouterr().err
    assert "1 of the sweep's members failed:" in told
    assert f"{tmp_path}/0_a\n  MemoryError: no GiB left\n  where it arose: {tmp_path}/0_a/error.txt" in told


def test_a_run_that_has_told_itself_keeps_its_words(tmp_path):
    (tmp_path / "0_a").mkdir()
    (tmp_path / "0_a" / "error.txt").write_text("ColdStartFailed: too hard\n\nTraceback")
    told = failed(RunFailed("error: too hard\n(where it arose: error.txt)", 1))
    SweepOutcome().on_job_end(hydra_config(tmp_path, "0_a"), told)
    assert (tmp_path / "0_a" / "error.txt").read_text() == "ColdStartFailed: too hard\n\nTraceback"


def test_a_member_that_succeeds_the_second_time_has_not_failed(tmp_path):
    end_of(tmp_path, "0_a", failed(ValueError("first")))
    end_of(tmp_path, "0_a", failed(ValueError("second")))
    assert (tmp_path / "0_a" / "error.txt").read_text().startswith("second")
    end_of(tmp_path, "0_a", JobReturn(status=JobStatus.COMPLETED))
    SweepOutcome().on_multirun_end(hydra_config(tmp_path, ""))  # no failure, no exit


def refused_end_of(sweep_dir, outcome: SweepOutcome) -> None:
    """A new run is refused, as its folder holds another one."""
    config = OmegaConf.merge(hydra_config(sweep_dir, "0_a"), {"resume": None})
    told = RunFailed("error: 0_a already holds a run", 1)
    told.__cause__ = FolderTaken("0_a already holds a run")
    outcome.on_job_start(config)
    outcome.on_job_end(config, failed(told))


def test_a_start_that_is_refused_leaves_nothing_in_the_folder_and_is_told_once(tmp_path, capsys):
    folder = tmp_path / "0_a"
    folder.mkdir()
    for name in ("config.yaml", "error.txt"):
        (folder / name).write_text("of the run before\n\n")
    outcome = SweepOutcome()
    refused_end_of(tmp_path, outcome)
    assert {file.name for file in folder.iterdir()} == {"config.yaml", "error.txt"}
    assert (folder / "error.txt").read_text() == "of the run before\n\n"
    with pytest.raises(SystemExit):
        outcome.on_multirun_end(hydra_config(tmp_path, ""))
    told = capsys.readouterr().err
    assert told.partition("\n")[2] == f"1 of the sweep's members failed:\n{folder}\n  0_a already holds a run\n"


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_refused_job_ends_without_a_result(rank, tmp_path, monkeypatch):
    (tmp_path / "0_a").mkdir()
    (tmp_path / "0_a" / "config.yaml").touch()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_PROCID", rank)
    with pytest.raises(SystemExit):
        refused_end_of(tmp_path, SweepOutcome())
    assert [file.name for file in (tmp_path / "0_a").iterdir()] == ["config.yaml"]


def test_what_a_run_told_in_an_earlier_attempt_is_not_taken_for_todays_reason(tmp_path):
    (tmp_path / "0_a").mkdir()
    (tmp_path / "0_a" / "error.txt").write_text("old\n\n")
    os.utime(tmp_path / "0_a" / "error.txt", (1, 1))
    (tmp_path / "multirun.yaml").touch()
    end_of(tmp_path, "0_a", failed(RunFailed("error: begun by an older version", 1)))
    [failure] = failures_of(tmp_path)
    assert failure.reason == "RunFailed: error: begun by an older version"


def test_the_end_says_how_to_go_on(tmp_path, capsys):
    end_of(tmp_path, "0_a", failed(ValueError("wrong")))
    config = OmegaConf.merge(hydra_config(tmp_path, ""), {"resume": None})
    with pytest.raises(SystemExit):
        SweepOutcome().on_multirun_end(config)
    again = f"go on by the same command with: resume=auto hydra.sweep.dir={tmp_path}\n"
    assert capsys.readouterr().err.endswith(again)


def test_a_further_process_of_a_job_says_what_it_died_of_and_ends_without_a_result(tmp_path, monkeypatch):
    """The result is the first process', so an exit is how SLURM and the waiting command see that another has failed."""
    for key, value in {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_FOLDER": f"{tmp_path}/%j", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("SLURM_PROCID", "1")
    told = RunFailed("process 1: error: a must be 1", 1)
    told.__cause__ = ValueError("a must be 1")
    with pytest.raises(SystemExit) as caught:
        end_of(tmp_path, "0_a", failed(told))
    assert caught.value.code == 1
    assert (tmp_path / "0_a" / "error_1.txt").read_text().startswith("process 1: a must be 1\n\n")
    assert (tmp_path / "0_a" / "slurm_1.log").readlink().name == "7_1_log.out"
    monkeypatch.setenv("SLURM_PROCID", "0")
    (tmp_path / "0_a" / "error_2.txt").write_text("process 2: of an earlier attempt\n\n")
    os.utime(tmp_path / "0_a" / "error_2.txt", (1, 1))
    (tmp_path / "multirun.yaml").touch()
    os.utime(tmp_path / "multirun.yaml", (2, 2))
    job = end_of(tmp_path, "0_a", failed(ConnectionError("closed")))  # it started when the other had failed already
    assert job.status == JobStatus.COMPLETED
    assert (tmp_path / "0_a" / "error.txt").read_text().startswith("ConnectionError: closed\n\n")
    [failure] = failures_of(tmp_path)
    assert failure.reason == "process 1: a must be 1"
    assert f"where it arose: {tmp_path}/0_a/error_1.txt" in str(failure)


def test_pickled_jobs_lie_in_a_folder_of_ones_own_and_results_do_not(tmp_path):
    before = os.umask(0o022)
    try:
        keep_private(tmp_path / "sweep" / ".submitit")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "sweep", tmp_path / "sweep" / ".submitit")}
    assert modes == {"sweep": 0o755, ".submitit": 0o700}
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="only you can enter"):
        keep_private(tmp_path / "file" / ".submitit")
    with pytest.raises(SystemExit, match="only you can enter"):
        keep_private(tmp_path / "file")


@pytest.mark.parametrize(
    ("mode", "umask", "is_refused"),
    [(0o755, 0o022, False), (0o700, 0o002, False), (0o775, 0o022, True), (0o757, 0o022, True), (0o755, 0o002, True)],
)
def test_a_folder_of_ones_own_for_jobs_stays_as_it_is_and_must_not_be_open_to_others(
    mode, umask, is_refused, tmp_path, monkeypatch
):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(mode)
    monkeypatch.chdir(tmp_path / "logs")  # as submitit_folder=%j/x leads to
    before = os.umask(umask)
    try:
        if is_refused:
            with pytest.raises(SystemExit, match=r"others may write.*hydra\.launcher\.submitit_folder.*chmod go-rwx"):
                keep_private(tmp_path / "logs")
        else:
            keep_private(tmp_path / "logs")
    finally:
        os.umask(before)
    assert (tmp_path / "logs").stat().st_mode & 0o777 == mode


def test_another_users_folder_for_jobs_is_refused_without_telling_to_change_its_mode(tmp_path, monkeypatch):
    (tmp_path / "logs").mkdir(mode=0o700)
    monkeypatch.setattr("os.getuid", lambda: (tmp_path / "logs").stat().st_uid + 1)
    with pytest.raises(SystemExit, match="its owner, who is not you, may write") as caught:
        keep_private(tmp_path / "logs")
    assert "chmod" not in str(caught.value)


def test_a_single_run_fails_as_ever(tmp_path):
    job = failed(ValueError("wrong"))
    SweepOutcome().on_job_end(hydra_config(tmp_path, ".", mode=RunMode.RUN), job)
    assert job.status == JobStatus.FAILED and not (tmp_path / "error.txt").exists()
