"""Lightning trainers that leave steps, logs, checkpoints and validation to us, and what surrounds a fit."""

import copy
import gc
import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.plugins.precision import DeepSpeedPrecision
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from museg.training.job import TrainerSettings, TrainingJob


def lightning_trainer(
    job: TrainingJob,
    run_dir: Path,
    callbacks: Iterable[pl.Callback],
    *,
    is_sharded: bool = True,
) -> pl.Trainer:
    """A Lightning trainer; steps, logs, checkpoints and validation are ours.

    Off, `is_sharded` trains with whole weights in every process where shards were asked for: DeepSpeed takes no more
    than one optimizer, and Muon reads whole matrices.
    """
    settings = job.trainer
    strategy = copy.deepcopy(settings.strategy)  # each trainer sets up its own
    arithmetic: dict[str, Any] = {"precision": settings.precision}
    if isinstance(strategy, DeepSpeedStrategy) and is_sharded:
        strategy.config |= told_to_deepspeed(job)
        arithmetic = {"plugins": [FramesAsTheyAre(settings.precision)]}
    elif isinstance(strategy, (DeepSpeedStrategy, ModelParallelStrategy)) and not is_sharded:
        strategy = "ddp"
    quiet_lightning()
    arithmetic["plugins"] = [*arithmetic.get("plugins", ()), *slurm_plugins()]
    try:
        return _trainer(settings, strategy, arithmetic, callbacks, run_dir)
    except MisconfigurationException as error:
        raise ValueError(
            f"this machine cannot run trainer.accelerator={settings.accelerator}, trainer.devices={settings.devices}: "
            f"{error} trainer=cpu and trainer=ddp_cpu need no GPU."
        ) from error


def told_to_deepspeed(job: TrainingJob) -> dict[str, Any]:
    """What Lightning does not tell DeepSpeed by itself."""
    is_low = job.trainer.precision.startswith("bf16")
    return {
        "gradient_clipping": job.optimizer.max_grad_norm,
        "bf16": {"enabled": is_low, "check_grad_overflow": True},  # a gradient that is not finite changes no weight
        "zero_force_ds_cpu_optimizer": False,  # in the host's memory torch's AdamW steps, too: nothing is compiled
    }


def meeting_trainer(job: TrainingJob, run_dir: Path) -> pl.Trainer:
    """A trainer by which processes meet before there is a module; FSDP's strategy would ask for it."""
    return lightning_trainer(job, run_dir, [], is_sharded=not isinstance(job.trainer.strategy, ModelParallelStrategy))


def _trainer(
    settings: TrainerSettings,
    strategy: Any,
    arithmetic: dict[str, Any],
    callbacks: Iterable[pl.Callback],
    run_dir: Path,
) -> pl.Trainer:
    return pl.Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.num_nodes,
        strategy=strategy,
        **arithmetic,
        max_epochs=1,
        callbacks=list(callbacks),
        logger=False,
        default_root_dir=run_dir,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def slurm_plugins() -> list[SLURMEnvironment]:
    """In a SLURM job SLURM tells the processes who they are; queueing it again is submitit's work, not Lightning's."""
    if TorchElasticEnvironment.detect() or not SLURMEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False)]


class FramesAsTheyAre(DeepSpeedPrecision):
    """DeepSpeed's precision, leaving the clips of a step alone: only the tensors of the prompt batch have a type."""

    def convert_input(self, data: Any) -> Any:
        return data


@contextmanager
def torch_threads(num_threads: int | None) -> Iterator[None]:
    """Use so many threads of the processor, and afterwards, for the next member of a sweep, as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def long_lived() -> Iterator[None]:
    """Count all that Python holds now as there to stay: looking through it for garbage takes long."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _is_news(record: logging.LogRecord) -> bool:
    """Not so that there is no GPU: libraries load DeepSpeed where it is installed, and it says so in every process."""
    return "Setting accelerator to CPU" not in record.getMessage()


def quiet_lightning() -> None:
    """Silence what Lightning says of choices that are ours and meant."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("DeepSpeed").addFilter(_is_news)
    for message in (
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*GPU available but not used.*",
        ".*`srun` command is available.*",  # also where SLURM is installed and this run is none of its jobs
    ):
        warnings.filterwarnings("ignore", message)
