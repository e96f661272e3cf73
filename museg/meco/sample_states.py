"""What the heads compare, taken from the states of a batch: for each sample those of its tokens and of its steps.

Shapes: N samples; C completion tokens; K structural tokens of a sample; T steps in time of its video; d width.

States come from a training pass over given texts or were recorded while texts were generated; they lie alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from museg.meco.alignment import AlignmentHeads, pooled_steps, sample_cosines
from museg.meco.structure import Kind
from museg.meco.tokens import StructuralIds


@dataclass(frozen=True)
class SampleStates:
    """One sample; what shows a picture has no steps."""

    kinds: tuple[Kind, ...]  # K
    tokens: Tensor  # [K, d], of the tokens that stand before the structural ones
    steps: Tensor  # [T, d]


def sample_states(
    ids: StructuralIds,
    completion_ids: Tensor,
    completion_mask: Tensor,
    token_states: Tensor,
    frame_states: Tensor,
    video_grids: Sequence[Sequence[int] | None],
    merge: int,
) -> list[SampleStates]:
    """Take apart the states of a batch, one completion a sample.

    Args:
        completion_ids, completion_mask: [N, C].
        token_states: [N, C, d], of each completion token the state that predicts it.
        frame_states: [video tokens of all samples, d] in their order.
        video_grids: of each sample patches in time, height and width; None where it shows no video.

    Raises ValueError where the grids have another number of tokens.
    """
    sizes = [0 if grid is None else int(grid[0]) * int(grid[1]) * int(grid[2]) // merge**2 for grid in video_grids]
    if sum(sizes) != len(frame_states):
        raise ValueError(f"{len(frame_states)} video tokens for grids that have {sum(sizes)}: give those of the batch")
    is_structural = ids.is_structural(completion_ids) & completion_mask.bool()
    found = []
    for row, (states, grid) in enumerate(zip(frame_states.split(sizes), video_grids, strict=True)):
        kinds = tuple(ids.kinds[token_id] for token_id in completion_ids[row][is_structural[row]].tolist())
        steps = states.to(torch.promote_types(states.dtype, torch.float32))
        if grid is not None:
            steps = pooled_steps(states, grid, merge)
        found.append(SampleStates(kinds, token_states[row][is_structural[row]], steps))
    return found


def similarity_rows(heads: AlignmentHeads, samples: Sequence[SampleStates]) -> tuple[list[Tensor], Tensor]:
    """The cosines [K, T] of each sample's tokens and steps, and the scale that training multiplies them by."""
    return sample_cosines(heads, [sample.tokens for sample in samples], [sample.steps for sample in samples])
