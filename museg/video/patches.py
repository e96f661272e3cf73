"""From frames to the rows of patches that the vision tower of Qwen2.5-VL reads.

Shapes: T frames, H x W pixels, grid t x h x w with t = ceil(T / 2), h = H / 14, w = W / 14.
"""

import numpy as np
import torch
from torch.nn.functional import interpolate

PATCH_SIZE = 14
MERGE_SIZE = 2
TEMPORAL_PATCH_SIZE = 2
PATCH_VALUES = 3 * TEMPORAL_PATCH_SIZE * PATCH_SIZE * PATCH_SIZE

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Channel statistics (red, green, blue) of the published Qwen2.5-VL preprocessor configuration."""


def resize_frames(frames: np.ndarray | torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize uint8 frames [T, 3, H, W] to uint8 [T, 3, height, width], bicubic with antialiasing.

    Interpolates in float32 and rounds back to whole levels, because that is what the release feeds its model.
    **Source:** qwen-vl-utils 0.0.10, `fetch_video` (torchvision `resize` on uint8).
    """
    frames = torch.as_tensor(frames)
    if frames.shape[-2:] == (height, width):
        return frames
    resized = interpolate(frames.float(), (height, width), mode="bicubic", antialias=True, align_corners=False)
    return resized.clamp_(0, 255).round_().to(torch.uint8)


def patchify(frames: np.ndarray | torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
    """Normalise uint8 frames [T, 3, H, W] and cut them into patches in Qwen2.5-VL order, on the device of the frames.

    The frames are put in order while a value has one byte, then normalised where they lie: a third of the time on the
    processor, and the same numbers, since every value goes through the same three operations.

    Returns float32 rows [t * h * w, 1176] and the grid (t, h, w). A row holds channel, frame of the pair, y, x; rows
    run through t, then 2 x 2 blocks of patches (so that the four which are merged into one token are neighbours).
    An odd last frame is repeated. Raises ValueError unless both sides are multiples of 28.

    **Source:** transformers 5.23, Qwen2VLVideoProcessor (layout).
    """
    frames = torch.as_tensor(frames)
    num_frames, channels, height, width = frames.shape
    side = PATCH_SIZE * MERGE_SIZE
    if channels != 3 or num_frames == 0 or height % side or width % side:
        raise ValueError(
            f"frames must be [T >= 1, 3, multiple of {side}, multiple of {side}], got {list(frames.shape)}; "
            "resize them to the size that FrameBudget.frame_size gives"
        )
    if num_frames % TEMPORAL_PATCH_SIZE:
        frames = torch.cat([frames, frames[-1:]])
    grid = (len(frames) // TEMPORAL_PATCH_SIZE, height // PATCH_SIZE, width // PATCH_SIZE)
    t, h, w = grid
    blocks = frames.reshape(
        t, TEMPORAL_PATCH_SIZE, 3, h // MERGE_SIZE, MERGE_SIZE, PATCH_SIZE, w // MERGE_SIZE, MERGE_SIZE, PATCH_SIZE
    )
    rows = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(t * h * w, 3, -1)  # channels in the middle
    mean, std = (torch.tensor(values, device=frames.device)[:, None] for values in (CLIP_MEAN, CLIP_STD))
    return rows.float().div_(255).sub_(mean).div_(std).view(t * h * w, PATCH_VALUES), grid
