"""Schemas of the data sets for learning by instruction (see `museg.config.task_schema`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING

from museg.config.limits import choice, number
from museg.config.task_schema import DataConfig


@dataclass
class EventQuestionConfig:
    """What becomes of the questions of a task: `museg.dialogue.event_questions.EventQuestion`."""

    until: str | None = None
    then: str = ""


@dataclass
class RowLimitsConfig:
    """Which rows of a file count."""

    min_duration_s: float = number(0.0, minimum=0)
    max_duration_s: float | None = number(None, above=0)
    max_words: int | None = number(None, minimum=1)


@dataclass
class AnnotationFileConfig(RowLimitsConfig):
    """An annotation file, and the folders of what it is about."""

    file: str = MISSING
    format: str = choice("conversations", "et_instruct")
    images: str = ""
    videos: str = ""


@dataclass
class StageConfig:
    """The files of a stage."""

    files: dict[str, AnnotationFileConfig] = field(default_factory=dict)


@dataclass
class MecoDataConfig(DataConfig):
    """MeCo's stages, each with files of its own."""

    stages: dict[str, StageConfig] = field(default_factory=dict)
    video_root: str = MISSING
    held_out_share: float = number(minimum=0, below=1)
    seed: int = MISSING
    questions: dict[str, EventQuestionConfig] = field(default_factory=dict)


@dataclass
class EtInstructDataConfig(DataConfig, RowLimitsConfig):
    """E.T. Instruct."""

    train_file: str = MISSING
    held_out_file: str | None = None
    held_out_share: float = number(minimum=0, below=1)
    video_root: str = MISSING
    seed: int = MISSING
    questions: dict[str, EventQuestionConfig] = field(default_factory=dict)
