"""Importance weights for the gap between the log-probabilities of sampling and those of training.

Shapes: N rollouts; C completion tokens.

The same weights give a token slightly different log-probabilities in the rollout and in the training forward (other
kernels, other precision, another engine), so the rollouts come from a policy that is not quite the trained one. With
w = exp(log-prob at training - log-prob at sampling) of each token, both at temperature 1 among all tokens (sampling at
another temperature is meant, and no gap), the policy term of the token is multiplied by

- off: 1;
- truncate: min(w, cap), truncated importance sampling;
- mask: w inside [1 / cap, cap] and 0 outside.

The KL term keeps all tokens and the mean is taken over all of them, also where their policy term is masked: a masked
token counts as one that teaches nothing. (verl and slime take rejected tokens out of the mean too, which makes the
remaining ones of that sequence count more.)

**Source:** truncation, of the policy term alone, with KL and mean as here: Hugging Face TRL, GRPOTrainer,
vllm_importance_sampling_mode token_truncate. Mask on both sides that keeps w inside: IcePop, as arXiv 2512.16144 writes
it (equation 1). 1 / cap as the lower side, and the default cap of 2: verl, rollout_correction.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from museg.objectives.grpo import masked_mean

CORRECTIONS = ("off", "truncate", "mask")


@dataclass(frozen=True)
class Importance:
    """What multiplies the policy term, and what describes the gap (scalars without gradient).

    Attributes:
        weights: [N, C] without gradient, 1 where masked; None when off.
        largest: largest absolute difference of a token's two log-probs, in nats.
        mean: mean absolute difference, averaged as the loss is.
        corrected_share: share of the tokens that were truncated or masked, averaged as the loss is; None when off.
    """

    weights: Tensor | None
    largest: Tensor
    mean: Tensor
    corrected_share: Tensor | None


def importance(
    log_probs: Tensor, rollout_log_probs: Tensor, mask: Tensor, *, correction: str, cap: float, averaging: str
) -> Importance:
    """Compare the log-probs of training with those of sampling, and weigh tokens by the difference.

    Args:
        log_probs, rollout_log_probs: [N, C] at temperature 1.
        mask: [N, C], nonzero at tokens that count.
        correction: one of `CORRECTIONS`.
        cap: largest weight, at least 1.
        averaging: as in `museg.objectives.grpo.grpo_loss`.
    """
    if correction not in CORRECTIONS:
        raise ValueError(f"correction={correction!r} is unknown: choose one of {', '.join(CORRECTIONS)}")
    if not cap >= 1:
        raise ValueError(f"cap={cap} must be at least 1: a token without any gap has the weight 1")
    gap = torch.where(mask.bool(), log_probs.detach() - rollout_log_probs, 0.0)
    weights = corrected_share = None
    if correction != "off":
        is_beyond = (gap if correction == "truncate" else gap.abs()) > math.log(cap)
        weights = gap.exp().masked_fill(is_beyond, cap if correction == "truncate" else 0.0)
        corrected_share = masked_mean(is_beyond.to(gap.dtype), mask, averaging)
    return Importance(weights, gap.abs().max(), masked_mean(gap.abs(), mask, averaging), corrected_share)
