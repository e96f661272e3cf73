"""Reading a clip: choose frames within the budget, decode only these, resize them.

Shapes: T sampled frames, H x W pixels after resizing.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import av
import numpy as np

from museg.video.budget import FrameBudget
from museg.video.decoders import DecordVideo, PyAVVideo
from museg.video.patches import resize_frames
from museg.video.sampling import sample_indices, sampled_fps

DECODERS = {"decord": DecordVideo, "pyav": PyAVVideo}
"""Decoder name to the class that opens a clip with it."""

RESIZE_CHUNK_FRAMES = 16

DECORD_PREFIX = re.compile(r"(\[[\d:]+\] \S+:\d+: )+")

CONTAINER_MARKS = (
    (4, (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")),  # mp4, mov
    (0, (b"\x1a\x45\xdf\xa3",)),  # webm, mkv
    (8, (b"AVI ",)),
    (0, (b"FLV", b"OggS", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba", b"\x47")),  # flv, ogg, asf, mpeg, mpeg-ts
)
"""Offset and the bytes found there in files that hold video themselves."""


class UnreadableVideo(Exception):
    """A clip could not be read; `reason` says why in a few words."""

    def __init__(self, path: Path | str, decoder: str, reason: str) -> None:
        super().__init__(str(path), decoder, reason)
        self.path, self.decoder, self.reason = str(path), decoder, reason

    def __str__(self) -> str:
        return f"{self.path} ({self.decoder}): {self.reason}"


@dataclass(frozen=True)
class SampledVideo:
    """The frames of a clip that the model sees, with their times in seconds from the start of the file."""

    frames: np.ndarray
    """uint8 [T, 3, H, W], red green blue, resized."""
    frame_times_s: np.ndarray
    """float64 [T]: when each frame is shown, read from the file (which matters at variable frame rate)."""
    sample_rate_fps: float
    """Sampled frames per second as the release computes it, T / total x average rate; sets the model's time scale."""
    duration_s: float
    """When the last frame of the file ends."""
    num_source_frames: int
    """Frames in the file."""

    @cached_property
    def frames_sha256(self) -> str:
        """What tells the frames from any others: the SHA-256 of their shape and values. Worked out once."""
        digest = hashlib.sha256(str(self.frames.shape).encode())
        digest.update(np.ascontiguousarray(self.frames))
        return digest.hexdigest()


Reader = Callable[[Path, FrameBudget, str], SampledVideo]
"""Reads a path within a budget with the named decoder, as `read_video` does."""


def read_video(path: Path | str, budget: FrameBudget, decoder: str) -> SampledVideo:
    """Read the frames of `path` that `budget` allows with "decord" or "pyav", in one thread.

    Raises UnreadableVideo for anything that keeps a file from being read, and ValueError for an unknown decoder.
    """
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; choose one of {', '.join(DECODERS)}")
    path = Path(path)
    try:
        check_container(path)
        return _read(DECODERS[decoder](path), budget)
    except ImportError as error:
        raise UnreadableVideo(path, decoder, f"decoder is not installed: {error}") from error
    except (ValueError, OSError, RuntimeError, IndexError, MemoryError, av.FFmpegError) as error:
        raise UnreadableVideo(path, decoder, _first_line(error)) from error


def available_decoders() -> tuple[str, ...]:
    """The decoders of this machine in the order they are tried: decord where it is installed, then PyAV."""
    return ("decord", "pyav") if find_spec("decord") else ("pyav",)


def check_container(path: Path) -> None:
    """Raise ValueError unless `path` is a regular file that begins like a video container."""
    check_file(path, CONTAINER_MARKS, "a video container (mp4, mov, webm, mkv, avi, flv, ogg, asf, mpeg)")


def check_file(path: Path, marks: Iterable[tuple[int, tuple[bytes, ...]]], kind: str) -> None:
    """Raise ValueError unless `path` is a regular file with one of `marks` (offset, bytes) and so of the named kind.

    The first bytes are looked at here because the libraries would also follow play lists, which name other files.
    """
    if not path.exists():
        raise ValueError("no such file")
    if not path.is_file():
        raise ValueError("is not a regular file")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ValueError("file is empty")
    if not any(head[offset:].startswith(begins) for offset, begins in marks):
        raise ValueError(f"is not {kind}")


def _read(video: DecordVideo | PyAVVideo, budget: FrameBudget) -> SampledVideo:
    num_frames = budget.num_frames(video.num_frames, video.fps)
    indices = sample_indices(video.num_frames, num_frames).tolist()
    spans = video.frame_spans_s([*indices, video.num_frames - 1])
    return SampledVideo(
        frames=_resized(video.frames(indices), num_frames, budget),
        frame_times_s=spans[:-1, 0].copy(),
        sample_rate_fps=sampled_fps(video.num_frames, num_frames, video.fps),
        duration_s=float(spans[-1, 1]),
        num_source_frames=video.num_frames,
    )


def _resized(frames: Iterable[np.ndarray], num_frames: int, budget: FrameBudget) -> np.ndarray:
    """Resize decoded frames [H, W, 3] in small chunks, so that full-size frames never all lie in memory."""
    frames = iter(frames)
    chunks = []
    while chunk := list(islice(frames, RESIZE_CHUNK_FRAMES)):
        if len({frame.shape for frame in chunk}) > 1:
            raise ValueError("frame size changes within the file")
        stacked = np.ascontiguousarray(np.stack(chunk).transpose(0, 3, 1, 2))
        chunks.append(resize_frames(stacked, *budget.frame_size(num_frames, *stacked.shape[-2:])).numpy())
    if sum(map(len, chunks)) != num_frames:
        raise ValueError(f"{num_frames} frames asked for, {sum(map(len, chunks))} decoded")
    return np.concatenate(chunks)


def _first_line(error: Exception) -> str:
    """What the error says, without what decord puts around it: clock time, its source lines, a stack of frames."""
    if isinstance(error, av.FFmpegError):
        return error.strerror
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return DECORD_PREFIX.sub("", lines[0])[:300] if lines else type(error).__name__
