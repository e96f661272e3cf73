"""Where in a video a structural token belongs: two small heads, and the similarity of their outputs.

Shapes: T steps in time of a sample's video grid; K structural tokens of the sample; d width of the decoder.

A token stands for what the decoder knows where it is about to write it; a step of the grid, which covers two sampled
frames, is the mean of its merged patches. Samples have T and K of their own, so each is a pair of matrices.

**Source:** pangzss/MeCo d3ed11b (heads and scale), with one frame for each step.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

INITIAL_TEMPERATURE = 0.07
"""Cosines are divided by this at first."""


class AlignmentHeads(nn.Module):
    """Maps states of tokens and of steps into one space, where the cosine tells how well they fit.

    Attributes:
        log_scale: logarithm of what cosines are multiplied by before the softmax; learnt. [1], as DeepSpeed takes no
            weight without a dimension.
    """

    def __init__(self, hidden_size: int, *, temperature: float = INITIAL_TEMPERATURE, seed: int = 0) -> None:
        """Initial weights depend on `seed` alone. Raises ValueError unless `temperature` is above 0."""
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be above 0: cosines are divided by it")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.token_head, self.frame_head = _head(hidden_size), _head(hidden_size)
        self.log_scale = nn.Parameter(torch.tensor([math.log(1 / temperature)]))

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by, in float32 or better: a number."""
        return _wide(self.log_scale).exp().squeeze(0)

    def forward(self, token_states: Tensor, frame_states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the unit vectors of tokens [all K, d] and of steps [all T, d] of a batch, and the scale.

        One call for a whole batch, with as many results however many samples it has: ZeRO-3 counts both, and all
        processes of a training must come to the same.
        """
        return self.tokens(token_states), self.frames(frame_states), self.scale

    def tokens(self, states: Tensor) -> Tensor:
        """Return unit vectors [K, d] of states [K, d]."""
        return _unit(self.token_head, states)

    def frames(self, states: Tensor) -> Tensor:
        """Return unit vectors [T, d] of pooled states [T, d]."""
        return _unit(self.frame_head, states)


def sample_cosines(
    heads: AlignmentHeads, token_states: Sequence[Tensor], frame_states: Sequence[Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Return the cosines [K, T] of each sample, in float32 or better, and the scale.

    Args:
        token_states: [K, d] of each sample of a batch.
        frame_states: [T, d] of each sample, pooled (`pooled_steps`).
    """
    tokens, frames, scale = heads(torch.cat(list(token_states)), torch.cat(list(frame_states)))
    parts = (tokens.split(list(map(len, token_states))), frames.split(list(map(len, frame_states))))
    return [cosines(*pair) for pair in zip(*parts, strict=True)], scale


def cosines(token_vectors: Tensor, frame_vectors: Tensor) -> Tensor:
    """Return [K, T] from unit vectors [K, d] and [T, d], at their precision even where autocast would lower it."""
    with torch.autocast(token_vectors.device.type, enabled=False):
        return token_vectors @ frame_vectors.T


def pooled_steps(hidden: Tensor, grid_thw: Tensor | Sequence[int], merge: int) -> Tensor:
    """Return the mean state [T, d], in float32 or better, of each step of one video.

    Args:
        hidden: [video tokens, d], in the order of the prompt: step by step.
        grid_thw: patches in time, height and width, before `merge` x `merge` of them became one token.

    Raises ValueError when the grid has another number of tokens.
    """
    num_steps, height, width = (int(side) for side in grid_thw)
    num_tokens = height * width // merge**2  # of each step
    if len(hidden) != num_steps * num_tokens:
        raise ValueError(
            f"{len(hidden)} video tokens for a grid t x h x w = {num_steps} x {height} x {width}, which has "
            f"{num_steps} x {num_tokens}: give the states of this one video, without text"
        )
    steps = hidden.unflatten(0, (num_steps, num_tokens))  # [T, tokens, d]
    return steps.mean(dim=1, dtype=torch.promote_types(hidden.dtype, torch.float32))


def _head(hidden_size: int) -> nn.Sequential:
    half = hidden_size // 2
    return nn.Sequential(
        nn.LayerNorm(hidden_size), nn.Linear(hidden_size, half), nn.GELU(), nn.Linear(half, hidden_size)
    )


def _unit(head: nn.Sequential, states: Tensor) -> Tensor:
    """Unit vectors, in float32 or better, of what `head` makes of states in whatever precision."""
    return normalize(_wide(head(states.to(head[0].weight.dtype))), dim=-1)


def _wide(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
