"""Schema of what `python evaluate.py` runs: one of four things to do, and how a model answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from museg.config.limits import choice, number


@dataclass
class InferenceConfig:
    """How a checkpoint answers: precision, device, and what is answered together."""

    dtype: str = choice("auto", "float32", "bfloat16")
    attention: str = choice("sdpa", "flash_attention_2")
    device: str = choice("auto", "cpu", "cuda")
    batch_size: int = number(minimum=1)
    num_threads: int | None = number(minimum=1)
    feature_cache_mib: int = number(minimum=0)
    allow_missing_videos: bool = MISSING


@dataclass
class ShardConfig:
    """Which share of the videos this process answers; None takes torchrun's or SLURM's word for it."""

    index: int | None = number(None, minimum=0)
    count: int | None = number(None, minimum=1)


@dataclass
class EvaluateConfig:
    """Exactly one of `checkpoint`, `predictions`, `completions` and `compare` says what is done."""

    checkpoint: str | None = None
    predictions: str | None = None
    completions: str | None = None
    compare: list[str] | None = None
    published: list[str] = field(default_factory=list)
    output: str | None = None
    data_root: str = MISSING
    captions: bool = MISSING
    seed: int = number(minimum=0)
    benchmark: Any = MISSING
    reward: Any = MISSING
    phase: Any = MISSING
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    shard: ShardConfig = field(default_factory=ShardConfig)
