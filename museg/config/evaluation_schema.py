"""Schemas of a benchmark: which file it is, how it is read and scored, and how a model is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

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
    video: Any = MISSING
