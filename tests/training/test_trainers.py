"""Which Lightning trainer a run gets."""

import gc

import pytest
from lightning.pytorch.plugins.environments import SLURMEnvironment

from museg.training.trainers import long_lived, slurm_plugins


def test_lightning_leaves_requeueing_alone_in_a_slurm_job(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in {"NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "train", "PROCID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    [environment] = slurm_plugins()
    assert isinstance(environment, SLURMEnvironment) and not environment.auto_requeue
    assert (environment.world_size(), environment.global_rank()) == (2, 1)


@pytest.mark.filterwarnings("ignore:The `srun` command is available")
def test_elsewhere_lightning_finds_out_where_it_is(monkeypatch):
    monkeypatch.delenv("SLURM_NTASKS", raising=False)
    assert slurm_plugins() == []
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "started by torchrun, in a SLURM job")
    assert slurm_plugins() == []


def test_what_is_there_is_left_out_of_garbage_collection_for_a_while():
    before = gc.get_freeze_count()
    with pytest.raises(KeyError), long_lived():
        assert gc.get_freeze_count() > before
        raise KeyError
    assert gc.get_freeze_count() == 0  # the next member of a sweep may collect what this one leaves
