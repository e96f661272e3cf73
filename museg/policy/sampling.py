"""From probabilities and random numbers drawn beforehand to tokens.

Shapes: R rows; V vocabulary; G generations of a prompt.
"""

import torch
from torch import Tensor


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


def inverse_cdf(probs: Tensor, uniforms: Tensor) -> Tensor:
    """Return an index [R] into weights [R, V] for uniform numbers [R] in [0, 1); a weight of 0 is never chosen."""
    cumulative = probs.cumsum(dim=-1, dtype=torch.float64)
    heights = uniforms[:, None] * cumulative[:, -1:]
    chosen = torch.searchsorted(cumulative, heights, right=True).squeeze(-1)
    return chosen.clamp(max=probs.shape[1] - 1)  # NaN weights lead past the end; the loss check will name the step
