"""From logits and random numbers drawn beforehand to tokens.

Shapes: R rows; N rows of the whole batch; V vocabulary; G generations of a prompt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK_TOKENS = 128
"""Weights are added up in blocks of so many: one sum after the other over a whole vocabulary waits for each other."""


@dataclass(frozen=True)
class Chooser:
    """What becomes of the logits of a step: the likeliest tokens, or drawn ones where `uniforms` are given."""

    banned_ids: Tensor  # [some] long, tokens that are never chosen
    uniforms: Tensor | None = None  # [max_new, N] float64, see `uniforms_of`
    temperature: float = 1.0
    top_p: float = 1.0

    def __call__(self, logits: Tensor, step: int | Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Choose a token for each of `rows` [R] of the whole batch, whose logits at that step are [R, V].

        Returns tokens [R] and their log-probabilities [R] at temperature 1 among all tokens, in float32 or better.
        Changes `logits`. A step given as a tensor [1] is not looked at, so that the work can be recorded for a GPU.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        banned = logits.index_select(1, self.banned_ids).logsumexp(dim=-1)  # [R]
        allowed = logits.index_fill_(1, self.banned_ids, -torch.inf)
        probs = allowed.softmax(dim=-1)
        # the likeliest has probability 1 / sum, which spares adding up once more
        log_normaliser = torch.logaddexp(allowed.amax(dim=-1) - probs.amax(dim=-1).log(), banned)
        if self.uniforms is None:
            tokens = allowed.argmax(dim=-1)
        else:
            weights = probs if self.temperature == 1 else (allowed / self.temperature).softmax(dim=-1)
            tokens = inverse_cdf(nucleus(weights, self.top_p), self.uniforms[step, rows])
        return tokens, allowed.gather(1, tokens[:, None]).squeeze(1) - log_normaliser


def uniforms_of(seed: int, max_new_tokens: int, num_generations: int) -> Tensor:
    """Return float64 numbers [max_new, G] that are multiples of 2^-24: times a sum, each stays below it."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(max_new_tokens, num_generations, generator=generator).double()


def nucleus(probs: Tensor, top_p: float) -> Tensor:
    """Zero the probabilities [R, V] outside the smallest set of likeliest tokens that reaches `top_p`; no rescaling."""
    if top_p >= 1:
        return probs
    ordered, index = probs.sort(dim=-1, descending=True, stable=True)
    outside = ordered.cumsum(dim=-1) - ordered >= top_p
    return probs.masked_fill(outside.scatter(-1, index, outside), 0.0)


def inverse_cdf(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return an index [R] into weights [R, V] for uniform numbers [R] in [0, 1); a weight of 0 is never chosen."""
    blocks = pad(weights, (0, -weights.shape[1] % BLOCK_TOKENS)).unflatten(1, (-1, BLOCK_TOKENS))
    ends = blocks.sum(dim=-1, dtype=torch.float64).cumsum(dim=-1)  # [R, blocks]
    heights = uniforms[:, None] * ends[:, -1:]
    block = torch.searchsorted(ends, heights, right=True)  # [R, 1]
    block = block.clamp(max=ends.shape[1] - 1)  # NaN weights lead past the end; the loss check will name the step
    heights = heights - pad(ends, (1, 0)).gather(1, block)
    rows = torch.arange(len(weights), device=weights.device)[:, None]
    within = blocks[rows, block].squeeze(1).cumsum(dim=-1, dtype=torch.float64)  # [R, BLOCK_TOKENS]
    chosen = torch.searchsorted(within, heights, right=True)
    # added up in another order, a block may end a rounding below its height: its last weight is not passed
    chosen = torch.minimum(chosen, torch.searchsorted(within, within[:, -1:].contiguous()))
    return (block * BLOCK_TOKENS + chosen).squeeze(1).clamp(max=weights.shape[1] - 1)
