"""With which settings a run is continued."""

import pytest
import yaml

from museg.config import launch as launching
from museg.config.launch import RunFailed, launch, resumed_settings
from museg.error_files import FolderTaken

RECORDED = {"seed": 3, "resume": None, "profile": False}


def test_a_folder_alone_brings_its_own_settings(tmp_path):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECORDED))
    now = {"seed": 0, "resume": str(tmp_path), "profile": False}
    assert resumed_settings(now, [f"resume={tmp_path}"]) == RECORDED | {"resume": str(tmp_path)}
    profiled = resumed_settings(now | {"profile": True}, [f"resume={tmp_path}", "profile=true"])
    assert profiled == {"seed": 3, "resume": str(tmp_path), "profile": True}


def test_the_number_of_processes_may_be_another(tmp_path):
    trainer = {"devices": 2, "precision": "bf16-mixed"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECORDED | {"trainer": trainer}))
    now = RECORDED | {"seed": 0, "resume": str(tmp_path), "trainer": {"devices": 4, "precision": "32-true"}}
    resumed = resumed_settings(now, [f"resume={tmp_path}", "trainer.devices=4"])
    assert resumed == {**now, "seed": 3, "trainer": {"devices": 4, "precision": "bf16-mixed"}}


def test_a_folder_of_an_older_version_is_refused_with_what_it_lacks(tmp_path):
    """Another reward may have other keys; a group with one schema may not."""
    target = {"_target_": "museg.rewards.mix.RewardMix"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECORDED | {"objective": {"beta": 0.1}, "reward": target}))
    now = RECORDED | {"resume": str(tmp_path), "objective": {"beta": 0.1, "importance": "off"}, "new": 1}
    with pytest.raises(RunFailed, match=r"older version, whose settings lack new, objective\.importance: continue"):
        resumed_settings(now | {"reward": target | {"weights": {}}}, [f"resume={tmp_path}"])


def test_other_overrides_are_compared_with_the_folder_later(tmp_path):
    now = {"seed": 0, "resume": str(tmp_path), "profile": True}
    assert resumed_settings(now, [f"resume={tmp_path}", "profile=true", "seed=0"]) is now
    assert resumed_settings(now | {"resume": "auto"}, ["resume=auto"]) == now | {"resume": "auto"}


def test_a_job_that_slurm_started_again_continues(tmp_path, monkeypatch):
    now = {"seed": 0, "resume": None, "profile": False}
    for count, resume in {"": None, "0": None, "1": "auto", "12": "auto"}.items():
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
        assert resumed_settings(now, ["seed=0"])["resume"] == resume
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(RECORDED))
    assert resumed_settings(now | {"resume": str(tmp_path)}, [f"resume={tmp_path}"])["seed"] == 3


@pytest.mark.parametrize(("kind", "is_written"), [(FolderTaken, False), (ValueError, True)])
def test_a_start_that_is_refused_writes_nothing_into_the_folder_of_another_run(kind, is_written, tmp_path, monkeypatch):
    """Another run has its settings there already, be it only since a moment ago."""

    def train(*_):
        (tmp_path / "config.yaml").touch()
        raise kind("no")

    drawn = []
    for name, stand_in in {"train": train, "build_job": dict, "write_report": drawn.append}.items():
        monkeypatch.setattr(launching, name, stand_in)
    with pytest.raises(RunFailed, match="error: no"):
        launch({"resume": None, "start_after": None}, tmp_path)
    assert (tmp_path / "error.txt").exists() == is_written == bool(drawn)
