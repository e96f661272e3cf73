"""Which frames of a clip are read: evenly spread over its frame numbers, first and last included."""

import numpy as np
import torch


def sample_indices(total_frames: int, num_frames: int) -> np.ndarray:
    """Frame numbers to read, int64 [num_frames], rising from 0 to `total_frames` - 1.

    Even in frame number, so uneven in time where the frame rate varies. Torch spaces them, not NumPy: the release
    does so in float32, which rounds some midpoints to the other neighbour.

    **Source:** qwen-vl-utils 0.0.10, `_read_video_decord`.
    """
    if not 0 < num_frames <= total_frames:
        raise ValueError(f"cannot take {num_frames} frames of {total_frames}; ask for 1 to {total_frames}")
    return torch.linspace(0, total_frames - 1, num_frames).round().long().numpy()


def sampled_fps(total_frames: int, num_frames: int, video_fps: float) -> float:
    """Frames per second of the clip's own time after sampling, from which the model's time scale follows."""
    return num_frames / total_frames * video_fps
