"""Which annotated videos are there, and which of them can be decoded."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from museg.data.clips import ClipLoader, Reader
from museg.data.dataset import resolve_video
from museg.data.download import Progress
from museg.data.examples import GroundingExample
from museg.video.budget import FrameBudget
from museg.video.decoding import read_video

PROBE = FrameBudget(min_frames=4, max_frames=4, min_pixels=28 * 28, max_pixels=4 * 28 * 28)
"""Four small frames from the first to the last: a file that breaks off or has holes shows it."""

FileState = list[int]
"""What changes when a file is replaced: its size and its date in nanoseconds."""


@dataclass(frozen=True)
class Inventory:
    """The state of the videos that an annotation names."""

    num_videos: int
    missing: tuple[str, ...]
    unreadable: dict[str, str]
    """Video to the reason each decoder gave."""

    @property
    def is_complete(self) -> bool:
        return not self.missing and not self.unreadable

    def write(self, file: Path) -> None:
        """One line for each video that lacks or cannot be decoded; a complete inventory leaves no file."""
        if self.is_complete:
            file.unlink(missing_ok=True)
            return
        rows = [{"video": video, "problem": "missing"} for video in self.missing]
        rows += [{"video": video, "problem": "unreadable", "reason": why} for video, why in self.unreadable.items()]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def missing_videos(video_root: Path, videos: Sequence[str]) -> list[str]:
    """Those of `videos` that are no file below `video_root`, in order. ValueError for a path that leads outside."""
    return [video for video in videos if not resolve_video(video_root, video).is_file()]


def file_state(video_root: Path, video: str) -> FileState | None:
    """The state of a video; None where it is no file below `video_root`, or cannot be reached."""
    try:
        status = resolve_video(video_root, video).stat()
    except (OSError, ValueError):
        return None
    return [status.st_size, status.st_mtime_ns] if stat.S_ISREG(status.st_mode) else None


def take_inventory(
    video_root: Path,
    videos: Sequence[str],
    folder: Path,
    *,
    num_workers: int,
    timeout_s: float,
    progress: Progress | None = None,
    read: Reader = read_video,
) -> Inventory:
    """Decode four frames of every video that is there, in `num_workers` processes that may hang or die.

    What could be read is remembered in `folder` with the size and date of the file and not read again. `timeout_s` is
    the time a decoder has for one file.
    """
    videos = list(dict.fromkeys(videos))
    missing = missing_videos(video_root, videos)
    present = sorted(set(videos) - set(missing))
    folder.mkdir(parents=True, exist_ok=True)
    memory = _Memory(folder / "readable.jsonl")
    states = {video: file_state(video_root, video) for video in present}
    unknown = [video for video in present if not memory.has(video, states[video])]
    unreadable = {}
    quarantine = folder / "unreadable.jsonl"
    quarantine.unlink(missing_ok=True)  # what failed last time may have been replaced since
    with ClipLoader(
        PROBE,
        video_root,
        num_workers=num_workers,
        timeout_s=timeout_s,
        steps_ahead=2 * num_workers,
        quarantine_file=quarantine,
        read=read,
    ) as loader:
        for num_done, (video, reason) in enumerate(_probed(loader, unknown), start=len(present) - len(unknown) + 1):
            if reason is None:
                memory.add(video, states[video])
            else:
                unreadable[video] = reason
            if progress is not None:
                progress("decoding", num_done, len(present))
    quarantine.unlink(missing_ok=True)
    return Inventory(len(videos), tuple(missing), unreadable)


def _probed(loader: ClipLoader, videos: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Each video with the reason why it cannot be read (None: it can)."""
    plan = [(number, [_asking_for(video)]) for number, video in enumerate(videos)]
    for video, batch in zip(videos, loader.stream(plan), strict=True):
        reasons = {} if batch.clips else loader.quarantine.reasons(video)
        yield video, "; ".join(f"{decoder}: {reason}" for decoder, reason in reasons.items()) or None


def _asking_for(video: str) -> GroundingExample:
    return GroundingExample(video, video, query="", targets=(), duration_s=None, task="", source="")


class _Memory:
    """The videos that could be read, appended one by one, so that a check that was interrupted goes on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._states: dict[str, FileState] = {}
        lines = file.read_bytes().split(b"\n") if file.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
                self._states[row["video"]] = row["state"]
            except (ValueError, KeyError, TypeError):
                continue  # a line cut short by a kill costs one video that is read again

    def has(self, video: str, state: FileState | None) -> bool:
        return state is not None and self._states.get(video) == state

    def add(self, video: str, state: FileState | None) -> None:
        with self.file.open("ab") as file:
            file.write(b"\n" + json.dumps({"video": video, "state": state}).encode())
