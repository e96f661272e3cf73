"""A prompt about a video of noise and completions of random tokens, of any shape."""

import torch
from torch import Tensor

from museg.data.examples import GroundingExample
from museg.policy.loading import Policy
from museg.policy.positions import prompt_position_ids
from museg.policy.processing import PromptBatch
from tests.benchmarks.measure import Shape

FRAME_GRID = (12, 16)
"""Patches of a frame, 168 x 224 px: 48 tokens for every two frames."""
TEXT_TOKENS = 64
"""At least as many of a prompt are text."""

Inputs = tuple[PromptBatch, Tensor, Tensor, int]


def made_inputs(policy: Policy, shape: Shape) -> Inputs:
    """A prompt about a video of noise, and completions of random ordinary tokens."""
    generator = torch.Generator().manual_seed(0)
    num_steps = (shape.prompt - TEXT_TOKENS) // (FRAME_GRID[0] * FRAME_GRID[1] // 4)
    grid = torch.tensor([[num_steps, *FRAME_GRID]])
    num_video = int(grid.prod()) // 4
    ids = torch.randint(0, 256, (1, shape.prompt), generator=generator)
    ids[0, 8] = policy.ids.vision_start_id
    ids[0, 9 : 9 + num_video] = policy.ids.video_id
    ids[0, 9 + num_video] = policy.ids.vision_end_id
    positions, next_position = prompt_position_ids(
        ids, torch.ones_like(ids), grid, torch.ones(1), video_id=policy.ids.video_id
    )
    batch = PromptBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=torch.randn(int(grid.prod()), 1176, generator=generator),
        grid_thw=grid,
        second_per_grid_ts=torch.ones(1),
        filled_steps=(float(grid[0, 0]),),
        position_ids=positions,
        next_position=next_position,
        examples=(GroundingExample("noise", "", "", (), None, "tvg", "noise"),),
    )
    completions = torch.randint(0, 256, (shape.generations, shape.completion), generator=generator)
    return batch, completions, torch.ones_like(completions, dtype=torch.bool), shape.generations
