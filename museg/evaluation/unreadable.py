"""Videos that could not be read: which lack from the start, what is remembered of the others, and when to try again."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from museg.data.inventory import FileState, file_state
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.prediction_file import Record

CAUSE = "unreadable"
"""Key of a shard's line whose video could not be read.

{"video", "file": its state then, "reasons": by decoder, "is_undecided": a decoder hung or died, so it may be readable}.
"""

MAX_NAMED = 5
"""Absent videos that a message names."""


def refuse_absent(videos: Collection[str], video_root: Path, remedy: str) -> None:
    """Raise ValueError when any of `videos` is no file below `video_root`; looks at the folder, opens nothing.

    `remedy` is the sentence of the message that says where they come from.
    """
    absent = [video for video in videos if file_state(video_root, video) is None]
    if absent:
        named = ", ".join(absent[:MAX_NAMED]) + (", ..." if len(absent) > MAX_NAMED else "")
        raise ValueError(
            f"{len(absent)} of the {len(videos)} videos to be asked about are not below {video_root}: {named}\n"
            f"{remedy} With inference.allow_missing_videos=true their questions count as failures"
        )


def with_cause(
    record: Record,
    video: str,
    video_root: Path,
    before: FileState | None,
    reasons: Mapping[str, str],
    *,
    is_undecided: bool = False,
) -> Record:
    """The line of a question whose video could not be read, with what a later start needs to know.

    `before` is the state of the file before it was tried. A file that changed meanwhile has no state worth remembering:
    it is tried again.
    """
    now = file_state(video_root, video)
    fault = AnswerFault.ABSENT_VIDEO if now is None else AnswerFault.UNREADABLE_VIDEO
    cause = {"video": video, "file": now if now == before else None, "reasons": dict(reasons)}
    return {**record, "fault": fault.value, CAUSE: {**cause, "is_undecided": is_undecided}}


def is_unreadable(record: Record) -> bool:
    """Whether the sample has no answer because of its video."""
    return is_absent(record) or record.get("fault") == AnswerFault.UNREADABLE_VIDEO.value


def is_absent(record: Record) -> bool:
    """Whether the sample has no answer because its video was not there."""
    return record.get("fault") == AnswerFault.ABSENT_VIDEO.value


def still_unreadable(records: Iterable[Record], video_root: Path) -> dict[str, Mapping[str, str]]:
    """Video -> reasons, of those whose file is as it was when decoders refused it, or is not there now."""
    still = {}
    states: dict[str, FileState | None] = {}
    for cause in (record[CAUSE] for record in records if CAUSE in record):
        video = cause["video"]
        if video not in states:
            states[video] = file_state(video_root, video)
        if states[video] is None or (states[video] == cause["file"] and not cause.get("is_undecided")):
            still[video] = cause["reasons"]
    return still


def settled(newest: Mapping[str, Record], still: Collection[str]) -> set[str]:
    """The ids of `newest` (by sample id) that need no other try: all but those whose video may be readable now."""
    return {key for key, record in newest.items() if CAUSE not in record or record[CAUSE]["video"] in still}
