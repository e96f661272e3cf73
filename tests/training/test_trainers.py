"""Which Lightning trainer a run gets."""

import pytest
from lightning.pytorch.plugins.environments import SLURMEnvironment

from museg.training.trainers import slurm_plugins


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
