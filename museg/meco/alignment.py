"""Where in a video a structural token belongs: two small heads, the similarity of their outputs, and what they learn.

Shapes: T steps in time of a sample's video grid; K structural tokens of the sample; d width of the decoder.

A token stands for what the decoder knows where it is about to write it; a step of the grid, which covers two sampled
frames, is the mean of its merged patches. Samples have T and K of their own, so each is a pair of matrices.

**Source:** pangzss/MeCo d3ed11b (heads, scale and loss), with one frame for each step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from museg.meco.structure import Kind

INITIAL_TEMPERATURE = 0.07
"""Cosines are divided by this at first."""
SEPARATE, JOINT = "separate", "joint"
MODES = (SEPARATE, JOINT)
"""How a sample's tokens are averaged: the mean of the two kinds' means, or one mean over all tokens."""


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


@dataclass(frozen=True)
class AlignedSample:
    """The structural tokens of one sample in the order of its text; a sample without any has K = 0."""

    cosines: Tensor  # [K, T]
    targets: Tensor  # [K, T] on the same device, each row adds up to 1 (`museg.meco.structure.span_targets`)
    kinds: Sequence[Kind]  # K

    def __post_init__(self) -> None:
        if self.cosines.shape != self.targets.shape or len(self.cosines) != len(self.kinds):
            raise ValueError(
                f"cosines {list(self.cosines.shape)}, targets {list(self.targets.shape)} and {len(self.kinds)} kinds "
                "belong to different tokens or videos: give one row for each token, one column for each step"
            )

    def rows_of(self, kind: Kind) -> list[int]:
        """Which of the tokens are of that kind."""
        return [row for row, found in enumerate(self.kinds) if found is kind]


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


def structural_loss(samples: Sequence[AlignedSample], scale: Tensor, mode: str = SEPARATE) -> Tensor:
    """Return the mean, over samples that have tokens, of the cross-entropy of their targets, in nats.

    A token is compared with all steps of its own video, and with nothing else. "separate" takes the mean of the kinds'
    means (of one kind where the other is absent), "joint" one mean over all tokens. Where no sample has a token the
    loss is zero, and every weight gets a gradient of zero all the same, as sharded training needs it.

    A token whose target is spread over m steps cannot get below ln m; `alignment_metrics` has what is above that.

    Raises ValueError for no samples and for an unknown mode.
    """
    _check(samples, mode)
    losses = [_mean_over(mode, sample, _cross_entropies(sample, scale)) for sample in samples if sample.kinds]
    nothing = [(scale * sample.cosines).sum() for sample in samples if not sample.kinds]  # of no numbers: zero
    return torch.stack([*losses, *nothing]).sum() / max(len(losses), 1)


@torch.no_grad()
def alignment_metrics(samples: Sequence[AlignedSample], scale: Tensor, mode: str = SEPARATE) -> dict[str, float]:
    """Return what tells how well tokens are aligned; what no token speaks of is left out.

    Each is a mean over a sample's tokens (for cosines: pairs of token and step), then over the samples that have any.

        scale: what cosines are multiplied by.
        kl: the loss without what no weights could remove, so that 0 is perfect.
        event, transition: the loss of each kind.
        hit_at_1: share of tokens whose likeliest step is within their target.
        cosine_in, cosine_out: within and outside the target.
    """
    _check(samples, mode)
    with_tokens = [sample for sample in samples if sample.kinds]

    def over_samples(values_of: Callable[[AlignedSample], Tensor]) -> float | None:
        """Mean over the samples that have values, of the means of each."""
        means = [values.mean() for values in map(values_of, with_tokens) if values.numel()]
        return float(torch.stack(means).mean()) if means else None

    found = {
        "scale": float(scale),
        "kl": over_samples(lambda one: _mean_over(mode, one, _cross_entropies(one, scale) - _entropies(one))),
        "event": over_samples(lambda one: _cross_entropies(one, scale)[one.rows_of(Kind.EVENT)]),
        "transition": over_samples(lambda one: _cross_entropies(one, scale)[one.rows_of(Kind.TRANSITION)]),
        "hit_at_1": over_samples(_hits),
        "cosine_in": over_samples(lambda one: one.cosines[one.targets > 0]),
        "cosine_out": over_samples(lambda one: one.cosines[one.targets <= 0]),
    }
    return {name: value for name, value in found.items() if value is not None}


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


def _check(samples: Sequence[AlignedSample], mode: str) -> None:
    if not samples:
        raise ValueError("no samples to align: give at least one; it may be without tokens")
    if mode not in MODES:
        raise ValueError(f"mode={mode!r} is unknown: choose one of {', '.join(MODES)}")


def _cross_entropies(sample: AlignedSample, scale: Tensor) -> Tensor:
    """Of each token's target [K], under a softmax over the steps."""
    log_probs = (scale * sample.cosines).log_softmax(dim=-1)
    return -(sample.targets.to(log_probs) * log_probs).sum(dim=-1)


def _entropies(sample: AlignedSample) -> Tensor:
    """Of the targets [K]: ln m of one that is spread evenly over m steps."""
    return torch.special.entr(sample.targets.to(sample.cosines)).sum(dim=-1)


def _mean_over(mode: str, sample: AlignedSample, values: Tensor) -> Tensor:
    """One number for a sample that has tokens, from one for each token [K]."""
    if mode == JOINT:
        return values.mean()
    kinds = [rows for rows in map(sample.rows_of, Kind) if rows]
    return torch.stack([values[rows].mean() for rows in kinds]).mean()


def _hits(sample: AlignedSample) -> Tensor:
    """1 for a token whose likeliest step is within its target, else 0: [K]."""
    best = sample.cosines.argmax(dim=-1, keepdim=True)
    return (sample.targets.gather(-1, best) > 0).squeeze(-1).to(sample.cosines)
