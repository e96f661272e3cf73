"""Schemas of what drives a run: method, optimizer, trainer, logger, cold start, and the values at the root.

Plain typed fields and nothing heavy: a schema checks names and types when a configuration is composed. Values live in
`conf/`, so fields without a default must be set there. The meaning of a field is told once, by the class or function
that receives it and by the comment in its option file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from museg.config.derived_schema import TargetConfig, derived_schema
from museg.config.limits import choice, number, share
from museg.meco.localization import LocalizationSettings

LocalizationConfig = derived_schema(LocalizationSettings)


@dataclass
class SupervisedMethodConfig(TargetConfig):
    """Supervised training, and how its demonstrations look."""

    cites_times_share: float = share()
    by_time: bool = MISSING


@dataclass
class MecoMethodConfig(TargetConfig):
    """Structural tokens and their alignment with the steps of the video."""

    start_heads: str | None = None
    token_layer: int = number(below=0)
    frame_layer: int = number(below=0)
    weight: float = number(minimum=0)
    loss: str = choice("separate", "joint")
    temperature: float = number(above=0)
    head_gap_s: float = number(above=0)
    gap_s: float = number(above=0)
    inclusive_end: bool = MISSING
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)  # type: ignore[valid-type]


@dataclass
class OptimizerConfig:
    """AdamW and its learning rate over one fit."""

    kind: str = choice("adamw", "adamw_8bit", "paged_adamw_8bit", "muon")
    lr: float = number(above=0)
    betas: list[float] = number(minimum=0, below=1)  # noqa: RUF009 (a field, made by a function)
    eps: float = number(above=0)
    weight_decay: float = number(minimum=0)
    max_grad_norm: float = number(above=0)
    warmup_steps: int = number(minimum=0)
    final_fraction: float = share()
    shape: str = choice("linear", "cosine", "constant")
    warmup_share: float | None = share(None)
    matrix_lr: float | None = number(None, above=0)
    momentum: float | None = number(None, minimum=0, below=1)


@dataclass
class TrainerConfig:
    """Hardware, precision and how the prompts of a step are split into backward passes."""

    accelerator: str = choice("cpu", "gpu", "auto")
    devices: Any = MISSING
    num_nodes: int = number(minimum=1)
    strategy: Any = MISSING
    precision: str = choice("32-true", "bf16-mixed", "bf16-true")
    num_threads: int | None = number(minimum=1)
    micro_batch_prompts: int = number(minimum=1)
    compile: bool = MISSING


@dataclass
class DeepSpeedConfig:
    """Lightning's DeepSpeed strategy, the arguments in use here."""

    _target_: str = "lightning.pytorch.strategies.DeepSpeedStrategy"
    stage: int = choice(1, 2, 3)
    offload_optimizer: bool = False
    allgather_bucket_size: int = number(minimum=1)
    reduce_bucket_size: int = number(minimum=1)


@dataclass
class ModelParallelConfig:
    """Lightning's strategy for what a module shards itself, here by FSDP2; the arguments in use here."""

    _target_: str = "lightning.pytorch.strategies.ModelParallelStrategy"
    save_distributed_checkpoint: bool = MISSING


@dataclass
class WandbConfig:
    """A run in Weights & Biases; the run adds its own folder, its settings and who draws."""

    _target_: str = "museg.training.wandb_dashboard.WandbDashboard"
    project: str = MISSING
    name: str = MISSING
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    offline: bool | None = None
    timelines: int = number(minimum=0)
    best_model: bool = MISSING


@dataclass
class TensorBoardConfig:
    """Lightning's TensorBoard logger; the run adds its own folder as `save_dir`."""

    _target_: str = "lightning.pytorch.loggers.TensorBoardLogger"
    name: str = MISSING
    version: str = MISSING


@dataclass
class ColdStartConfig:
    """Supervised training before reinforcement step 0."""

    enabled: bool = MISSING
    target_mean_iou: float = share()
    max_steps: int = number(minimum=1)
    schedule_steps: int = number(minimum=1)
    evaluate_every_steps: int = number(minimum=1)
    num_eval_examples: int = number(minimum=1)
    batch_size: int = number(minimum=1)
    lr: float = number(above=0)
    matrix_lr: float = number(above=0)
    momentum: float = number(minimum=0, below=1)
    warmup_steps: int = number(minimum=0)
    final_fraction: float = share()
    wordings: list[str] = MISSING
    evaluation: str = MISSING
    cites_times_share: float = share()
    by_time: bool = MISSING
    cache_dir: str = MISSING


@dataclass
class ValidationConfig:
    """Held-out evaluation while training."""

    every_steps: int = number(minimum=1)
    num_examples: int = number(minimum=1)
    batch_size: int = number(minimum=1)
    sampled: bool = MISSING
    completions_every_steps: int = number(minimum=1)


@dataclass
class CheckpointConfig:
    """When a checkpoint is written and how many of them stay."""

    every_steps: int = number(minimum=1)
    keep: int = number(minimum=1)


@dataclass
class VisionFeatureConfig:
    """What is kept of a frozen vision tower's work."""

    cache_mib: int = number(minimum=0)
    cache_gib: float = number(minimum=0)
    cache_dir: str = MISSING


@dataclass
class TrainConfig:
    """Everything one training run is made from; each group's own schema is pulled in by its option file."""

    name: str = MISSING
    seed: int = number(minimum=0)
    prompts_per_step: int = number(minimum=1)
    resume: str | None = None
    start_after: str | None = None
    profile: bool = False
    dry_run: str | None = choice("memory", default=None)
    method: Any = MISSING
    model: Any = MISSING
    dataset: Any = MISSING
    video: Any = MISSING
    prompt: Any = MISSING
    reward: Any = MISSING
    phase: Any = MISSING
    rollout: Any = MISSING
    objective: Any = MISSING
    optimizer: Any = MISSING
    trainer: Any = MISSING
    cold_start: Any = MISSING
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    vision_features: VisionFeatureConfig = field(default_factory=VisionFeatureConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logger: dict[str, Any] = field(default_factory=dict)
