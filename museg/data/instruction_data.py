"""Data sets for learning by instruction: E.T. Instruct, and the three stages of MeCo."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from museg.data.annotation_files import AnnotationFile, RowLimits
from museg.data.dataset import (
    GroundingData,
    Order,
    check_most_videos_exist,
    clip_name,
    data_from_files,
    hold_out,
    sum_of,
)
from museg.data.instruction_readers import read_et_instruct
from museg.data.readers import ReadReport
from museg.dialogue.event_questions import EventQuestion


def et_instruct_data(
    *,
    train_file: str,
    held_out_file: str | None,
    held_out_share: float,
    video_root: str,
    order: Order,
    seed: int,
    min_duration_s: float,
    max_duration_s: float | None,
    max_words: int | None,
    questions: Mapping[str, Mapping[str, Any]],
) -> GroundingData:
    """E.T. Instruct 164K, with MeCo's captions or without; held out as for `jsonl_data`.

    Rows count by the length of their clip and their answer as `RowLimits` says. `questions` are fields of EventQuestion
    by task.
    """
    limits = RowLimits(min_duration_s=min_duration_s, max_duration_s=max_duration_s, max_words=max_words)
    read = partial(_read_within, limits)
    data = data_from_files([train_file], video_root, held_out_file, held_out_share, order, seed, read=read)
    return replace(data, questions=_questions(questions))


def meco_data(
    *,
    stages: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]],
    video_root: str,
    held_out_share: float,
    order: Order,
    seed: int,
    questions: Mapping[str, Mapping[str, Any]],
) -> GroundingData:
    """Stages one after another, each with the rows of all its files (name of a stage to `files` to name to the fields
    of AnnotationFile). `questions` are fields of EventQuestion by task.

    Held out are all examples of `held_out_share` of the last stage's videos, the only stage with times; none of these
    videos is trained on before. Raises ValueError for files that are not there, all at once, for what cannot be read,
    and when most pictures and videos of a file are not found.
    """
    root = Path(video_root)
    files = [[AnnotationFile(**entry) for entry in stage["files"].values()] for stage in stages.values()]
    missing = [file.file for file in chain.from_iterable(files) if not (root / file.file).is_file()]
    if missing:
        raise ValueError(f"not there below video_root {root}: {', '.join(missing)}; set their `file`, or video_root")
    reports = [[_with_its_media(file, root) for file in stage] for stage in files]
    *earlier, last = (tuple(chain.from_iterable(report.examples for report in stage)) for stage in reports)
    (last,), held_out = hold_out([last], held_out_share, seed)
    set_aside = {clip_name(example.video) for example in held_out}
    kept = [tuple(example for example in stage if clip_name(example.video) not in set_aside) for stage in earlier]
    every = list(chain.from_iterable(reports))
    return GroundingData(
        files=(*kept, last),
        held_out=held_out,
        video_root=root,
        order=order,
        kept_faults=sum_of(report.kept_faults for report in every),
        left_out=sum_of(report.left_out for report in every),
        questions=_questions(questions),
    )


def _questions(nodes: Mapping[str, Mapping[str, Any]]) -> dict[str, EventQuestion]:
    return {task: EventQuestion(**node) for task, node in nodes.items()}


def _read_within(limits: RowLimits, path: Path) -> ReadReport:
    return limits.applied_to(read_et_instruct(path))


def _with_its_media(file: AnnotationFile, root: Path) -> ReadReport:
    report = file.read(root)
    check_most_videos_exist(root, report.examples)
    return report
