"""What the heads learn: the loss of structural tokens over the steps of their own videos, and how well they do.

Shapes: T steps in time of a sample's video grid; K structural tokens of the sample.

Samples have T and K of their own, so each is a pair of matrices.

**Source:** pangzss/MeCo d3ed11b (loss), with one frame for each step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from museg.meco.structure import Kind

SEPARATE, JOINT = "separate", "joint"
MODES = (SEPARATE, JOINT)
"""How a sample's tokens are averaged: the mean of the two kinds' means, or one mean over all tokens."""


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
