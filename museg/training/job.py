"""A training run as plain values: everything `museg.training.run` needs, built from a configuration or by hand."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

from museg.data.dataset import GroundingData
from museg.dialogue.prompts import PromptWording
from museg.phases.schedule import PhaseSchedule
from museg.policy.loading import Policy
from museg.policy.rollout import RolloutSettings
from museg.rewards.mix import RewardMix
from museg.training.mirrors import Dashboard
from museg.video.budget import FrameBudget


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW and its learning rate over one fit; `final_fraction` is the share of `lr` left at the end.

    `kind`: "adamw", or bitsandbytes' with moments of 8 bits: "adamw_8bit", and "paged_adamw_8bit", whose moments may
    leave a full GPU for the host's memory. "muon": Muon for the matrices inside the layers, whose rate peaks at
    `matrix_lr`, AdamW with its usual betas for the rest.
    `warmup_share`: of a fit's steps, in place of `warmup_steps`.
    """

    kind: Literal["adamw", "adamw_8bit", "paged_adamw_8bit", "muon"]
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    max_grad_norm: float
    warmup_steps: int
    final_fraction: float
    shape: Literal["linear", "cosine", "constant"]
    warmup_share: float | None = None
    matrix_lr: float | None = None
    momentum: float | None = None

    def warmup_of(self, num_steps: int) -> int:
        """Steps of warm-up in a fit of `num_steps` steps; a share of them is rounded up."""
        return self.warmup_steps if self.warmup_share is None else ceil(num_steps * self.warmup_share)


@dataclass(frozen=True)
class ObjectiveSettings:
    """GRPO: KL weight, how far the probability ratio may leave 1 on either side, advantage scaling, averaging.

    `importance`, `importance_cap`: how tokens are weighed for the gap between sampling and training, and up to what.
    `shared_prefix`: one forward for a whole group instead of one per completion; the numbers are the same.
    """

    beta: float
    clip_low: float
    clip_high: float
    scale_rewards: bool
    averaging: Literal["sequence", "token"]
    importance: Literal["off", "truncate", "mask"]
    importance_cap: float
    shared_prefix: bool


@dataclass(frozen=True)
class TrainerSettings:
    """Hardware and precision handed to Lightning, and the prompts (whole groups) per backward pass.

    `num_threads` is torch's on the processor, None for its own choice. A sum split over another number of threads is
    rounded otherwise, so only a fixed number gives the same run on another machine. `compile`: norms and feed-forward
    layers of the policy and its reference go through torch.compile, which rounds otherwise too.
    """

    accelerator: str
    devices: int | str
    num_nodes: int
    strategy: Any
    precision: str
    num_threads: int | None
    micro_batch_prompts: int
    compile: bool


@dataclass(frozen=True)
class CheckpointSettings:
    """A checkpoint every so many steps and at every phase end; the newest `keep` stay."""

    every_steps: int
    keep: int


@dataclass(frozen=True)
class ValidationSettings:
    """Held-out evaluation during training; `sampled` adds one sample per prompt to the greedy answer."""

    every_steps: int
    num_examples: int
    batch_size: int
    sampled: bool
    completions_every_steps: int


@dataclass(frozen=True)
class DecodingSettings:
    """Worker processes that decode ahead of training, seconds granted per clip, steps decoded ahead.

    Decoded clips are kept in memory (`cache_mib`) and, for other runs too, on disk (`frame_cache_gib`, 0: not at all).
    """

    num_workers: int
    timeout_s: float
    steps_ahead: int
    cache_mib: int
    frame_cache_gib: float
    frame_cache_dir: str


@dataclass(frozen=True)
class VisionFeatureSettings:
    """Where features of a frozen vision tower are kept: MiB beside the model, and GiB on disk (0: not at all)."""

    cache_mib: int
    cache_gib: float
    cache_dir: str


@dataclass(frozen=True)
class ColdStartSettings:
    """Supervised start before step 0; stops at the first evaluation with greedy mean IoU >= `target_mean_iou`."""

    enabled: bool
    target_mean_iou: float
    max_steps: int
    schedule_steps: int
    evaluate_every_steps: int
    num_eval_examples: int
    batch_size: int
    lr: float
    matrix_lr: float
    momentum: float
    warmup_steps: int
    final_fraction: float
    wordings: Sequence[str]
    evaluation: str
    cites_times_share: float
    by_time: bool
    cache_dir: str


@dataclass(frozen=True)
class TrainingJob:
    """One run, as `config` records it in the run folder.

    `profile` measures the parts of its steps, `keeps_best_model` keeps the best model in `best/`. `make_*` are called
    once, when the run needs the thing.
    `module_class(policy, job, [reference,] **module_options)` is what trains.
    """

    name: str
    seed: int
    prompts_per_step: int
    module_class: type
    module_options: Mapping[str, Any]
    make_policy: Callable[[], Policy]
    make_data: Callable[[], GroundingData]
    make_dashboards: Callable[[Path], list[Dashboard]]
    keeps_best_model: bool
    reward: RewardMix
    schedule: PhaseSchedule
    wordings: Mapping[str, PromptWording]
    evaluation_wording: str
    rollout: RolloutSettings
    objective: ObjectiveSettings
    optimizer: OptimizerSettings
    trainer: TrainerSettings
    checkpoint: CheckpointSettings
    validation: ValidationSettings
    vision_features: VisionFeatureSettings
    cold_start: ColdStartSettings
    budget: FrameBudget
    decoding: DecodingSettings
    profile: bool
    config: Mapping[str, Any]
