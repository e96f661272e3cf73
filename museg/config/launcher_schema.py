"""Schema of the SLURM launcher: the fields of hydra-submitit-launcher 1.2, whose own schema is there only with it.

Values live in `conf/hydra/launcher/slurm.yaml`, so that the option composes, and can be looked at, without the extra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class SlurmLauncherConfig:
    """What every job of a sweep asks SLURM for, and how submitit runs it."""

    _target_: str = MISSING
    submitit_folder: str = MISSING
    name: str = MISSING
    partition: str | None = MISSING
    account: str | None = MISSING
    qos: str | None = MISSING
    constraint: str | None = MISSING
    exclude: str | None = MISSING
    timeout_min: int = MISSING
    array_parallelism: int = MISSING
    nodes: int = MISSING
    tasks_per_node: int = MISSING
    gpus_per_node: int | None = MISSING
    cpus_per_task: int | None = MISSING
    mem_gb: float | None = MISSING
    gres: str | None = MISSING
    cpus_per_gpu: int | None = MISSING
    gpus_per_task: int | None = MISSING
    mem_per_gpu: str | None = MISSING
    mem_per_cpu: str | None = MISSING
    setup: list[str] | None = MISSING
    srun_args: list[str] | None = MISSING
    additional_parameters: dict[str, Any] = MISSING
    signal_delay_s: int = MISSING
    max_num_timeout: int = MISSING
    stderr_to_stdout: bool = MISSING
    comment: str | None = MISSING


def gpus_per_node(accelerator: str, devices: int | str) -> int | str | None:
    """`${gpus_per_node:${trainer.accelerator},${trainer.devices}}`: one for each process, none on the processor."""
    return None if accelerator == "cpu" else devices
