"""Schemas of what is learned, and from what: reward, phase, prompt, dataset, video, model, rollout, objective.

Fields mirror the signature of what receives them (`tests/config` binds the two), without importing it: composing a
configuration must not load torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from museg.config.derived_schema import TargetConfig, derived_schema
from museg.config.limits import choice, number
from museg.video.budget import FrameBudget
from museg.video.synthetic_layout import SyntheticSettings


@dataclass
class RewardMixConfig(TargetConfig):
    """Named reward terms and their weights; each term is checked against its own class by `reward_schema`."""

    terms: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass
class PhaseConfig:
    """One phase: its length (None = what the others leave), its wording, and which reward terms are on.

    None in the rest stands for what the run has.
    """

    num_steps: int | None = number(None, minimum=0)
    prompt: str = MISSING
    rewards: dict[str, bool] = field(default_factory=dict)
    trains: Any = None  # OmegaConf cannot put a mapping where None stood for a schema
    lr: float | None = number(None, above=0)
    prompts_per_step: int | None = number(None, minimum=1)


@dataclass
class PhaseScheduleConfig:
    """The phases in order."""

    steps: int = number(minimum=0)
    total_steps: int = number(minimum=1)
    restart: bool = MISSING
    phases: dict[str, PhaseConfig] = field(default_factory=dict)


@dataclass
class PromptWordingConfig:
    """The words around the video."""

    system: str = MISSING
    before_video: str = MISSING
    after_video: str = MISSING


@dataclass
class PromptConfig:
    """Wordings by name, and the one that evaluation uses."""

    wordings: dict[str, PromptWordingConfig] = field(default_factory=dict)
    evaluation: str = MISSING


@dataclass
class DataConfig(TargetConfig):
    """What every data set has."""

    order: str = choice("by_step", "by_phase")


@dataclass
class SyntheticFolderConfig(DataConfig):
    """Where the drawn clips are kept."""

    root: str = MISSING


SyntheticDataConfig = derived_schema(SyntheticSettings, SyntheticFolderConfig)


@dataclass
class MusegDataConfig(DataConfig):
    """The released annotation files."""

    stage_1: str = MISSING
    stage_2: str = MISSING
    video_root: str = MISSING
    held_out_file: str | None = None
    held_out_share: float = number(minimum=0, below=1)
    seed: int = MISSING


@dataclass
class JsonlDataConfig(DataConfig):
    """A user's own file in the released schema."""

    train_file: str = MISSING
    held_out_file: str | None = None
    held_out_share: float = number(minimum=0, below=1)
    video_root: str = MISSING
    seed: int = MISSING


FrameBudgetConfig = derived_schema(FrameBudget)


@dataclass
class VideoConfig:
    """The frame budget, and the worker processes that decode ahead of training."""

    budget: FrameBudgetConfig = field(default_factory=FrameBudgetConfig)  # type: ignore[valid-type]
    num_workers: int = number(minimum=0)
    timeout_s: float = number(above=0)
    steps_ahead: int = number(minimum=1)
    cache_mib: int = number(minimum=0)
    frame_cache_gib: float = number(minimum=0)
    frame_cache_dir: str = MISSING


@dataclass
class RolloutConfig:
    """How completions are sampled."""

    num_generations: int = number(minimum=1)
    temperature: float = number(above=0)
    top_p: float = number(above=0, maximum=1)
    max_new_tokens: int = number(minimum=1)
    max_context_tokens: int = number(minimum=2)
    engine: str = choice("cascade", "plain")
    cuda_graphs: bool = MISSING


@dataclass
class GrpoConfig:
    """Group relative policy optimization."""

    beta: float = number(minimum=0)
    clip_low: float = number(above=0, maximum=1)
    clip_high: float = number(above=0)
    scale_rewards: bool = MISSING
    averaging: str = choice("sequence", "token")
    importance: str = choice("off", "truncate", "mask")
    importance_cap: float = number(minimum=1)
    shared_prefix: bool = MISSING


@dataclass
class FrozenConfig:
    """Which parts of a model keep their weights."""

    vision: bool = MISSING
    projector: bool = MISSING
    language: bool = MISSING


@dataclass
class LoraTargetsConfig:
    """Which projections of a decoder layer have an adapter."""

    q_proj: bool = MISSING
    k_proj: bool = MISSING
    v_proj: bool = MISSING
    o_proj: bool = MISSING
    gate_proj: bool = MISSING
    up_proj: bool = MISSING
    down_proj: bool = MISSING


@dataclass
class LoraConfig(TargetConfig):
    """A low-rank adapter, or (rank 0) none."""

    rank: int = number(minimum=0)
    alpha: float = number(above=0)
    dropout: float = number(minimum=0, below=1)
    targets: LoraTargetsConfig = field(default_factory=LoraTargetsConfig)


@dataclass
class TinyModelConfig(TargetConfig):
    """A small Qwen2.5-VL with random weights."""

    hidden_size: int = number(minimum=2)
    num_layers: int = number(minimum=1)
    num_heads: int = number(minimum=1)
    intermediate_size: int = number(minimum=1)
    rope_theta: float = number(above=0)
    mrope_section: list[int] = number(minimum=0)  # noqa: RUF009 (a field, made by a function)
    vision_hidden_size: int = number(minimum=2)
    vision_depth: int = number(minimum=1)
    vision_num_heads: int = number(minimum=1)
    vision_intermediate_size: int = number(minimum=1)
    initializer_range: float = number(above=0)
    seed: int = number(minimum=0)
    lora: LoraConfig = field(default_factory=LoraConfig)


@dataclass
class PretrainedModelConfig(TargetConfig):
    """A Qwen2.5-VL checkpoint from a folder or the hub."""

    path: str = MISSING
    dtype: str = choice("float32", "bfloat16")
    attention: str = choice("sdpa", "auto", "flash_attention_2")
    frozen: FrozenConfig = field(default_factory=FrozenConfig)
    gradient_checkpointing: bool = MISSING
    lora: LoraConfig = field(default_factory=LoraConfig)
