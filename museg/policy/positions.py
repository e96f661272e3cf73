"""Multimodal rotary positions of a prompt with videos or pictures: computed here, once, for rollout, training and
evaluation.

Shapes: B prompts; P prompt tokens (padding included); V videos and pictures of the batch in reading order.

Transformers 5 starts the text after a video at a position that ignores the video's length in time; Qwen2.5-VL was
trained with text that continues after the largest position so far. The two differ for most videos longer than a few
seconds, so the library's function is not used.

**Source:** transformers 4.50.0, Qwen2_5_VLForConditionalGeneration.get_rope_index (the version the released code pins).
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

PADDING_POSITION = 1


def prompt_position_ids(
    input_ids: Tensor,
    attention_mask: Tensor,
    grid_thw: Tensor,
    second_per_grid_ts: Tensor,
    *,
    video_id: int,
    image_id: int | None = None,
    spatial_merge_size: int = 2,
    tokens_per_second: int = 2,
) -> tuple[Tensor, Tensor]:
    """Return `position_ids` [3, B, P] (time, height, width) and `next_position` [B], where each completion starts.

    Args:
        input_ids: [B, P], padded on either side.
        attention_mask: [B, P], nonzero at tokens; padding slots get position 1.
        grid_thw: [V, 3], patches in time, height and width, before spatial merging.
        second_per_grid_ts: [V], seconds that one step in time of the grid covers; without effect where it is alone,
            as in a picture.
        video_id, image_id: the placeholder ids that stand once for every merged patch of a video, of a picture.
        tokens_per_second: temporal positions per second of video, from the checkpoint's vision configuration.

    Raises:
        ValueError: when the placeholders of the prompts don't match the grids.
    """
    position_ids = torch.full((3, *input_ids.shape), PADDING_POSITION, dtype=torch.long)  # [3, B, P]
    next_position = torch.zeros(len(input_ids), dtype=torch.long)  # [B]
    grids = _merged_grids(grid_thw, second_per_grid_ts, spatial_merge_size)
    for row, (ids, mask) in enumerate(zip(input_ids.cpu(), attention_mask.cpu().bool(), strict=True)):
        pieces = list(_row_pieces(is_visual(ids[mask], video_id, image_id), grids, row, tokens_per_second))
        row_positions = torch.cat(pieces, dim=1)  # [3, tokens]
        position_ids[:, row, mask] = row_positions
        next_position[row] = row_positions.max() + 1
    if next(grids, None) is not None:
        raise ValueError("more grids than videos and pictures in the prompts: give one for each run of placeholders")
    return position_ids.to(input_ids.device), next_position.to(input_ids.device)


def is_visual(ids: Tensor, video_id: int, image_id: int | None) -> Tensor:
    """Which ids stand for patches, bool, of the shape of `ids`."""
    is_placeholder = ids == video_id
    return is_placeholder if image_id is None else is_placeholder | (ids == image_id)


def _merged_grids(
    grid_thw: Tensor, second_per_grid_ts: Tensor, merge: int
) -> Iterator[tuple[tuple[int, int, int], Tensor]]:
    seconds = torch.as_tensor(second_per_grid_ts, dtype=torch.float32).cpu()
    if len(seconds) != len(grid_thw):
        raise ValueError(f"{len(grid_thw)} grids but {len(seconds)} second_per_grid_ts: one for each video or picture")
    for (t, h, w), second_per_grid in zip(grid_thw.tolist(), seconds, strict=True):
        yield (t, h // merge, w // merge), second_per_grid


def _row_pieces(is_placeholder: Tensor, grids: Iterator, row: int, tokens_per_second: int) -> Iterator[Tensor]:
    """Yield the positions [3, n] of one prompt's runs of text and of visual tokens, in reading order."""
    start = 0
    kinds, lengths = torch.unique_consecutive(is_placeholder, return_counts=True)
    for is_visual_run, length in zip(kinds.tolist(), lengths.tolist(), strict=True):
        if not is_visual_run:
            yield torch.arange(start, start + length).expand(3, -1)
            start += length
            continue
        grid = next(grids, None)
        if grid is None:
            raise ValueError(f"prompt {row} holds a video or picture without a grid: give one grid for each")
        shape, second_per_grid = grid
        if length != shape[0] * shape[1] * shape[2]:
            raise ValueError(
                f"prompt {row}: {length} visual tokens in a row, but its merged grid {shape} has another size"
            )
        positions = start + _visual_positions(shape, second_per_grid, tokens_per_second)
        yield positions
        start = int(positions.max()) + 1


def _visual_positions(shape: Sequence[int], second_per_grid: Tensor, tokens_per_second: int) -> Tensor:
    """Return [3, t*h*w] from zero; time is cut to whole positions in float32, as the checkpoint was trained."""
    t, h, w = shape
    time = (torch.arange(t) * second_per_grid * tokens_per_second).long()
    grid = torch.meshgrid(time, torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack(grid).reshape(3, -1)
