"""Annotation files for learning by instruction: E.T. Instruct, with MeCo's captions or without, and conversations.

All are JSON lists. A row with a broken field is told with all others of its file at once; one that holds nothing to
learn from is left out and counted.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from museg.data import event_windows, row_fields
from museg.data.captions import captions_before_tokens, captions_beside_times
from museg.data.examples import GroundingExample
from museg.data.file_faults import FileFaults, as_object
from museg.data.json_rows import json_rows
from museg.data.readers import ReadReport, report_of
from museg.dialogue.event_tokens import EVENT_TOKEN
from museg.dialogue.prompts import without_markers
from museg.temporal.segments import Segment

SPEAKERS = ("human", "gpt")
MEDIA_MARKS = ("<image>", "<video>")
"""Stand in a question where the picture or the video does; where they stand here is for a prompt wording to say."""

NO_MEDIA, NO_QUESTION, NO_ANSWER = "without_picture_or_video", "without_question", "without_answer"
NO_EVENTS = "task_without_events"

LISTED = ("dvc", "slc", "tvc")
"""Tasks whose answers tell every event with its time."""
DESCRIBED = "rvc"
"""The task whose answers describe the stretch of time that the question gives."""
CONVERSATION = "conversation"
"""The task of a row of which words are asked for."""


def read_et_instruct(path: Path, *, videos: str = "") -> ReadReport:
    """Read E.T. Instruct 164K with times in plain text, or the same rows with captions, each before `<ent>`, as answer.

    A row holds `task`, `video`, `conversations` and, where it has them, `source`, `duration`, `tgt` (times in seconds
    of the answer), `src` (of the question) and `windows` (its events; else they follow from the task). `videos`: the
    folder that video paths are relative to, below the video root. Of the conversation the first turn counts.

    Raises one ValueError that lists all unusable rows, or says that there is no such file or that it is no JSON list.

    **Source** of the fields: PolyU-ChenLab/ETBench 278cfa2, docs/DATASET.md; pangzss/MeCo d3ed11b, meco/train/train.py.
    """

    def example_of(row: Mapping[str, Any], example_id: str) -> GroundingExample | str:
        row_fields.need(row, "task", "video", "conversations")
        task, video = row_fields.text(row, "task"), row_fields.video_path(row["video"])
        duration_s = row_fields.duration(row)
        question, answer = first_turn(row)
        if reason := _nothing_said(question, answer):
            return reason
        if row.get("windows") is None and task not in event_windows.TASKS:
            return NO_EVENTS
        targets = _targets(row, task, duration_s)
        captions, response = _captions_and_response(task, answer, targets)
        return GroundingExample(
            example_id=example_id,
            video=_below(videos, video),
            query=question,
            targets=targets,
            duration_s=duration_s,
            task=task,
            source=row_fields.text(row, "source") if "source" in row else row_fields.source_of(video),
            captions=captions,
            response=response,
        )

    return _read(path, example_of)


def read_conversations(path: Path, *, images: str = "", videos: str = "") -> ReadReport:
    """Read conversations about pictures and videos as LLaVA writes them: `image` or `video`, and `conversations`.

    So are LLaVA's own files, LLaMA-VID's with WebVid captions and with VideoChatGPT beside them, and others. `images`,
    `videos`: the folders that paths are relative to, below the video root. The first turn counts; rows with neither
    picture nor video are left out. Errors as of `read_et_instruct`.

    **Source** of the fields: haotian-liu/LLaVA, docs/Finetune_Custom_Data.md; of `video`: dvlab-research/LLaMA-VID.
    """
    folders = {"image": images, "video": videos}

    def example_of(row: Mapping[str, Any], example_id: str) -> GroundingExample | str:
        kinds = [kind for kind in folders if row.get(kind) is not None]
        if not kinds:
            return NO_MEDIA
        if len(kinds) > 1:
            raise ValueError("has both image and video")
        row_fields.need(row, "conversations")
        question, answer = first_turn(row)
        if reason := _nothing_said(question, answer):
            return reason
        (media,) = kinds
        return GroundingExample(
            example_id=example_id,
            video=_below(folders[media], row_fields.video_path(row[media], media)),
            query=question,
            targets=(),
            duration_s=row_fields.duration(row),
            task=CONVERSATION,
            source=Path(path).stem,
            response=without_markers(answer),
            media=media,
        )

    return _read(path, example_of)


def first_turn(row: Mapping[str, Any]) -> tuple[str, str]:
    """What is asked and what is answered first, the question without the marks of picture and video."""
    turns = row["conversations"]
    begin = turns[: len(SPEAKERS)] if isinstance(turns, list) else []
    if [turn.get("from") if isinstance(turn, dict) else None for turn in begin] != list(SPEAKERS):
        begins = " and ".join(SPEAKERS)
        raise ValueError(f"conversations must begin with a turn of {begins}, not {row_fields.short(turns)}")
    texts = [turn.get("value") for turn in begin]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"value must be a text in conversations, not {row_fields.short(texts)}")
    question, answer = texts
    for mark in MEDIA_MARKS:
        question = question.replace(mark, "")
    return question.strip(), answer.strip()


def _read(path: Path, example_of: Callable[[Mapping[str, Any], str], GroundingExample | str]) -> ReadReport:
    """`example_of` makes an example of a row and its id, or says why it has none."""
    path = Path(path)
    examples, left_out, bad = [], Counter(), FileFaults(path)
    for number, row in json_rows(path):
        with bad.at(f"row {number} (from 0)"):
            found = example_of(as_object(row), f"{path.stem}:{number}")
            if isinstance(found, str):
                left_out[found] += 1
            else:
                examples.append(found)
    bad.raise_if_any()
    return report_of(examples, left_out)


def _nothing_said(question: str, answer: str) -> str | None:
    return NO_QUESTION if not question else NO_ANSWER if not answer else None


def _targets(row: Mapping[str, Any], task: str, duration_s: float | None) -> tuple[Segment, ...]:
    if row.get("windows") is not None:
        return row_fields.segments(row["windows"], "windows")
    return event_windows.event_segments(task, row.get("tgt"), row.get("src"), duration_s)


def _captions_and_response(task: str, answer: str, targets: tuple[Segment, ...]) -> tuple[tuple[str, ...], str | None]:
    """What an answer says of each target, as far as it does; and the answer itself, unless it is captions alone."""
    if EVENT_TOKEN in answer:
        captions = captions_before_tokens(answer)
        if len(captions) != len(targets):
            raise ValueError(f"has {len(captions)} captions, each before {EVENT_TOKEN}, for {len(targets)} events")
        return captions, None
    response = without_markers(answer)
    if task == DESCRIBED and len(targets) == 1:
        return (response,), response
    return captions_beside_times(answer, targets) if task in LISTED else (), response


def _below(folder: str, video: str) -> str:
    return f"{folder}/{video}" if folder else video
