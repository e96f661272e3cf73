"""Schemas of an evaluation: what is done, how a model answers, and what a benchmark is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

from museg.config.instruction_schema import EventQuestionConfig
from museg.config.limits import choice, number

FORMATS = (
    "released_grounding",
    "et_bench",
    "et_bench_subset",
    "qvhighlights",
    "activitynet_captions",
    "museg_jsonl",
    "synthetic",
)
RULES = ("released_tvg", "released_tal", "released_by_task", "et_bench", "moment_retrieval", "sentence_grounding")


@dataclass
class LocalizationConfig:
    """Fields of `museg.meco.localization.LocalizationSettings` that are to differ; None leaves one as it is."""

    threshold: float | None = number(None, minimum=0, below=1)
    competition: bool | None = None
    dilation_steps: int | None = number(None, minimum=0)
    suppression_iou: float | None = number(None, above=0)
    score: str | None = choice("cosine", "probability", default=None)
    include_last_step: bool | None = None
    official: bool | None = None


@dataclass
class QuestionConfig(EventQuestionConfig):
    """What becomes of the questions of a task: `museg.evaluation.located_answers.TaskQuestion`."""

    wording: str | None = None


@dataclass
class StructureConfig:
    """How a model is asked that writes events instead of times, and how these are located."""

    prompt: Any = MISSING
    questions: dict[str, QuestionConfig] = field(default_factory=dict)
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)


@dataclass
class BenchmarkConfig:
    """The fields of `museg.evaluation.benchmarks.BenchmarkSettings`, and how a model is asked: wording and video."""

    name: str = MISSING
    format: str = choice(*FORMATS)
    rule: str = choice(*RULES)
    distributed: str | None = MISSING
    annotations: str | None = MISSING
    distributed_subset: str | None = None
    subset: str | None = None
    num_rows: int | None = number(minimum=1)
    question: str = MISSING
    video_folder: str = MISSING
    video_root: str | None = MISSING
    licence: str = MISSING
    origin: str = MISSING
    max_new_tokens: int = number(minimum=1)
    max_context_tokens: int = number(minimum=2)
    clips: Any = None
    prompt: Any = MISSING
    structure: StructureConfig = field(default_factory=StructureConfig)
    video: Any = MISSING


@dataclass
class InferenceConfig:
    """How a checkpoint answers: in which way, precision, device, and what is answered together."""

    answers: str = choice("auto", "written", "located")
    localization: LocalizationConfig = field(default_factory=LocalizationConfig)

    dtype: str = choice("auto", "float32", "bfloat16")
    attention: str = choice("sdpa", "auto", "flash_attention_2")
    device: str = choice("auto", "cpu", "cuda")
    batch_size: int = number(minimum=1)
    num_threads: int | None = number(minimum=1)
    feature_cache_mib: int = number(minimum=0)
    feature_cache_gib: float = number(minimum=0)
    feature_cache_dir: str = MISSING
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
