"""DeepSpeed's JSON, as Lightning hands it over for the recipes."""

import json

import lightning.pytorch as pl
import pytest

from museg.config.job import build_job
from museg.config.validation import checked_settings
from museg.training.trainers import lightning_trainer
from tests.config.options import compose

BUCKET = 200_000_000  # conf/trainer/zero2.yaml


def handed_over(tmp_path, *overrides: str) -> dict:
    """What `deepspeed.initialize` gets as its `config`, for a trainer whose processes are not started."""
    on_processor = ("trainer.accelerator=cpu", "trainer.devices=2")  # a trainer for GPUs is not made without one
    job = build_job(checked_settings(compose("dry_run=memory", *overrides, *on_processor)))
    trainer = lightning_trainer(job, tmp_path, [])
    module = pl.LightningModule()
    module.trainer = trainer
    trainer.fit_loop._data_source.instance = iter(())  # where a run puts its stream of steps
    trainer.strategy.connect(module)
    trainer.strategy._init_config_if_needed()  # what its `setup` does first
    return json.loads(json.dumps(trainer.strategy.config))


@pytest.mark.parametrize(("size", "stage"), [("3b", 2), ("7b", 2), ("7b", 3)])
def test_what_deepspeed_is_told(size, stage, tmp_path):
    told = handed_over(tmp_path, f"experiment=museg_{size}", f"trainer=zero{stage}")
    assert told["zero_optimization"] == {
        "stage": stage,
        "contiguous_gradients": True,
        "overlap_comm": True,  # a second bucket is filled while the first is on its way: both count as memory
        "allgather_partitions": True,
        "allgather_bucket_size": BUCKET,
        "reduce_scatter": True,
        "reduce_bucket_size": BUCKET,
        "sub_group_size": 1_000_000_000_000,
    }
    # float32 masters; a step whose gradient is not finite is left out
    assert told["bf16"] == {"enabled": True, "check_grad_overflow": True} and "fp16" not in told
    assert told["gradient_clipping"] == 1.0  # optimizer.max_grad_norm
    # one item of the loader is one step; the passes of a step are told to the engine one by one
    assert (told["gradient_accumulation_steps"], told["train_micro_batch_size_per_gpu"]) == (1, 1)
    # the optimizer and its learning rate are ours
    assert told["zero_allow_untested_optimizer"] and not {"optimizer", "scheduler"} & set(told)


def test_the_optimizer_in_the_hosts_memory(tmp_path):
    told = handed_over(tmp_path, "experiment=museg_7b", "trainer.strategy.offload_optimizer=true")
    assert told["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    assert not told["zero_force_ds_cpu_optimizer"]  # or DeepSpeed would refuse ours
