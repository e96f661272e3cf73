"""The GRPO objective.

Shapes: N rollouts; C completion tokens.

How the released MUSEG trainer departs from published GRPO (arXiv 2402.03300), and what is done here:
1. One update per rollout, so the probability ratio is exactly 1 and the release leaves clipping out. Here it is
   clipped; with one update that changes neither value nor gradient.
2. The mean is taken within each sequence and then over sequences, as published; averaging over tokens is an option.
3. KL to the reference is the k3 estimate per token, inside the mean, as published.
4. Log-probabilities are those at temperature 1, although sampling may use another.
5. Rewards are scaled by the unbiased deviation of the group plus 1e-4 (`museg.objectives.advantages`).
6. Tokens may be weighed for the gap between sampling and training (`museg.objectives.importance`), which the release
   does not know.

**Source:** THUNLP-MT/MUSEG 889565e, src/trainer.py (compute_loss).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

AVERAGING = ("sequence", "token")


@dataclass(frozen=True)
class GrpoLoss:
    """The loss to differentiate, and what describes it (scalars without gradient).

    Attributes:
        loss: mean over sequences (or tokens) of the policy term plus beta times KL.
        kl: mean KL estimate to the reference, in nats, averaged as the loss is.
        clip_fraction: share of tokens whose clipped term was the one that counted.
        weight: what the mean was taken over, sequences or tokens. Micro-batches of one step add up to its loss when
            each is multiplied by its weight over the step's (`averaging_weight`).
    """

    loss: Tensor
    kl: Tensor
    clip_fraction: Tensor
    weight: Tensor


def grpo_loss(
    log_probs: Tensor,
    old_log_probs: Tensor | None,
    ref_log_probs: Tensor | None,
    advantages: Tensor,
    mask: Tensor,
    *,
    beta: float,
    clip_range: tuple[float, float],
    averaging: str = "sequence",
    token_weights: Tensor | None = None,
) -> GrpoLoss:
    """Compute the clipped GRPO loss with a KL penalty, in the precision of `log_probs`.

    Args:
        log_probs: [N, C], with gradient.
        old_log_probs: [N, C] of the policy that sampled; None for the current one (ratio 1).
        ref_log_probs: [N, C] of the reference; None only with beta 0.
        advantages: [N].
        mask: [N, C], nonzero at tokens that count.
        beta: weight of the KL term.
        clip_range: how far below and above 1 the ratio may push, e.g. (0.2, 0.2).
        averaging: "sequence" for the mean of the sequences' means, "token" for the mean over all tokens.
        token_weights: [N, C] without gradient, factors of each token's policy term (not of its KL); None for 1.
    """
    if averaging not in AVERAGING:
        raise ValueError(f"averaging={averaging!r} is unknown: choose one of {', '.join(AVERAGING)}")
    if ref_log_probs is None and beta:
        raise ValueError(f"beta={beta} weighs a KL term, but there are no reference log-probs: give them, or beta=0")
    old_log_probs = log_probs.detach() if old_log_probs is None else old_log_probs
    advantages = advantages[:, None]  # [N, 1]
    ratio = (log_probs - old_log_probs).exp()
    free, clipped = ratio * advantages, ratio.clamp(1 - clip_range[0], 1 + clip_range[1]) * advantages
    kl = torch.zeros_like(log_probs) if ref_log_probs is None else k3_kl(log_probs, ref_log_probs)
    gain = torch.minimum(free, clipped)
    if token_weights is not None:
        gain = gain * token_weights
    per_token = beta * kl - gain
    return GrpoLoss(
        loss=masked_mean(per_token, mask, averaging),
        kl=masked_mean(kl.detach(), mask, averaging),
        clip_fraction=masked_mean((clipped < free).to(log_probs.dtype).detach(), mask, "token"),
        weight=averaging_weight(mask, averaging),
    )


def k3_kl(log_probs: Tensor, ref_log_probs: Tensor) -> Tensor:
    """Return Schulman's non-negative estimate of KL(policy || reference) at each token that the policy sampled."""
    gap = ref_log_probs - log_probs
    return gap.exp() - gap - 1


def masked_mean(values: Tensor, mask: Tensor, averaging: str) -> Tensor:
    """Average values [N, C] over the mask: within sequences and then over them, or over all tokens."""
    mask = mask.to(values.dtype)
    kept = torch.where(mask.bool(), values, 0.0)  # masked slots may hold anything, infinities included
    if averaging == "token":
        return kept.sum() / mask.sum().clamp(min=1)
    return (kept.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()


def averaging_weight(mask: Tensor, averaging: str) -> Tensor:
    """Return what a mean over `mask` [N, C] is taken over: the number of its sequences, or of its tokens."""
    if averaging == "token":
        return mask.bool().sum()
    return torch.tensor(len(mask), device=mask.device)
