"""A failing member is noted where Hydra would end the sweep, and told of at the end."""

import pytest
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import RunMode
from omegaconf import OmegaConf

from museg.config.failures import RunFailed
from museg.config.sweep_outcome import SweepOutcome


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
    (sweep_dir / member).mkdir(exist_ok=True)
    SweepOutcome().on_job_end(hydra_config(sweep_dir, member), job)
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
    end_of(tmp_path, "0_a", failed(RunFailed("error: too hard\n(where it arose: error.txt)", 1)))
    assert (tmp_path / "0_a" / "error.txt").read_text() == "ColdStartFailed: too hard\n\nTraceback"


def test_a_member_that_succeeds_the_second_time_has_not_failed(tmp_path):
    end_of(tmp_path, "0_a", failed(ValueError("first")))
    end_of(tmp_path, "0_a", failed(ValueError("second")))
    assert (tmp_path / "0_a" / "error.txt").read_text().startswith("second")
    end_of(tmp_path, "0_a", JobReturn(status=JobStatus.COMPLETED))
    SweepOutcome().on_multirun_end(hydra_config(tmp_path, ""))  # no failure, no exit


def test_a_single_run_fails_as_ever(tmp_path):
    job = failed(ValueError("wrong"))
    SweepOutcome().on_job_end(hydra_config(tmp_path, ".", mode=RunMode.RUN), job)
    assert job.status == JobStatus.FAILED and not (tmp_path / "error.txt").exists()
