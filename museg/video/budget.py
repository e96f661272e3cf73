"""How many frames of a clip are read and at what size, so that a video keeps within its share of the context.

**Source:** THUNLP-MT/MUSEG commit 889565e, src/train.py (the numbers) and qwen-vl-utils 0.0.10, vision_process
(`smart_nframes`, `smart_resize`, `fetch_video`: the rules).
"""

import math
from dataclasses import dataclass

TEMPORAL_FACTOR = 2
"""Qwen2.5-VL merges this many frames in one grid step, so frame counts are multiples of it."""

DEFAULT_FRAME_CAP = 768
"""The frame limit where none is given (`max_frames=None`), as in the released evaluation."""

MAX_ASPECT_RATIO = 200


def _round_to(value: float, factor: int) -> int:
    return round(value / factor) * factor


def _floor_to(value: float, factor: int) -> int:
    return math.floor(value / factor) * factor


def _ceil_to(value: float, factor: int) -> int:
    return math.ceil(value / factor) * factor


@dataclass(frozen=True)
class FrameBudget:
    """The limits from which frame count and frame size of a clip follow.

    The released training settings are the defaults. One merged token covers 28 x 28 pixels of two frames, so
    `total_pixels` divided by 784 is the number of video tokens aimed at (3584). `min_pixels` wins over
    `total_pixels`: many tiny frames may exceed the total, as in the release.
    """

    sample_rate_fps: float = 2.0
    """Frames wanted per second of video."""
    min_frames: int = 4
    max_frames: int | None = 448
    """Upper limit of frames; None means 768 or all frames, whichever is less."""
    min_pixels: int = 16 * 28 * 28
    """Least pixels of a frame; smaller frames are enlarged."""
    max_pixels: int = 768 * 28 * 28
    """Most pixels of a frame."""
    total_pixels: int = 3584 * 28 * 28
    """Pixels of all merged frame pairs together."""
    factor: int = 28
    """Frame sides become multiples of this (patch 14 x merge 2)."""

    def __post_init__(self) -> None:
        for name in ("sample_rate_fps", "min_frames", "min_pixels", "max_pixels", "total_pixels", "factor"):
            if not getattr(self, name) > 0:
                raise ValueError(f"FrameBudget.{name} must be positive, got {getattr(self, name)}")
        if self.max_frames is not None and self.max_frames < max(self.min_frames, TEMPORAL_FACTOR):
            raise ValueError(
                f"FrameBudget.max_frames ({self.max_frames}) must not be below min_frames ({self.min_frames}) "
                f"or {TEMPORAL_FACTOR}; raise it or lower min_frames"
            )
        if self.max_pixels < self.min_pixels:
            raise ValueError(f"FrameBudget.max_pixels ({self.max_pixels}) is below min_pixels ({self.min_pixels})")

    @property
    def most_video_tokens(self) -> int:
        """Tokens that the longest video is aimed at; one covers `factor` x `factor` pixels of two frames."""
        area = self.factor**2
        tokens = self.total_pixels // area
        if self.max_frames is None:
            return tokens
        frame_tokens = max(self.max_pixels, self.min_pixels) // area
        return min(tokens, self.max_frames * frame_tokens // TEMPORAL_FACTOR)

    def num_frames(self, total_frames: int, video_fps: float) -> int:
        """Number of frames to read of a clip with `total_frames` frames at `video_fps`: even, at least 2.

        Raises ValueError where the clip has fewer than 2 frames or no usable frame rate.
        """
        if not (math.isfinite(video_fps) and video_fps > 0):
            raise ValueError(f"frame rate is {video_fps}, it must be a positive number of frames per second")
        if total_frames < TEMPORAL_FACTOR:
            raise ValueError(f"has {total_frames} frame(s), at least {TEMPORAL_FACTOR} are needed")
        cap = min(DEFAULT_FRAME_CAP, total_frames) if self.max_frames is None else self.max_frames
        least = _ceil_to(self.min_frames, TEMPORAL_FACTOR)
        most = _floor_to(cap, TEMPORAL_FACTOR)
        wanted = total_frames / video_fps * self.sample_rate_fps
        return _floor_to(min(max(wanted, least), most, total_frames), TEMPORAL_FACTOR)

    def frame_size(self, num_frames: int, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels at which `num_frames` frames of `height` x `width` pixels are shown.

        Raises ValueError where one side is more than 200 times the other.
        """
        if min(height, width) <= 0 or max(height, width) > MAX_ASPECT_RATIO * min(height, width):
            raise ValueError(f"frames of {width} x {height} px: no side may exceed {MAX_ASPECT_RATIO} times the other")
        share = self.total_pixels / num_frames * TEMPORAL_FACTOR
        most = max(min(self.max_pixels, share), int(self.min_pixels * 1.05))
        h = max(self.factor, _round_to(height, self.factor))
        w = max(self.factor, _round_to(width, self.factor))
        if h * w > most:
            scale = math.sqrt(height * width / most)
            h = max(self.factor, _floor_to(height / scale, self.factor))
            w = max(self.factor, _floor_to(width / scale, self.factor))
        elif h * w < self.min_pixels:
            scale = math.sqrt(self.min_pixels / (height * width))
            h = _ceil_to(height * scale, self.factor)
            w = _ceil_to(width * scale, self.factor)
        return h, w
