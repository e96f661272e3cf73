"""How much better than its group a completion did.

Shapes: B prompts; G generations of each.
"""

import torch
from torch import Tensor


def group_advantages(rewards: Tensor, *, scale: bool = True, epsilon: float = 1e-4) -> Tensor:
    """Return advantages [B, G]: reward minus the group's mean, and with `scale` over the group's spread plus `epsilon`.

    The spread is the unbiased standard deviation. Equal rewards give exactly 0.

    Raises:
        ValueError: when groups have fewer than two members, where no comparison exists.

    **Source:** THUNLP-MT/MUSEG 889565e, src/trainer.py (compute_loss).
    """
    if rewards.ndim != 2 or rewards.shape[1] < 2:
        raise ValueError(
            f"rewards must have shape [prompts, generations >= 2], got {list(rewards.shape)}: a completion is "
            "compared with the others of its group (rollout.num_generations)"
        )
    advantages = rewards - rewards.mean(dim=1, keepdim=True)
    if scale:
        advantages = advantages / (rewards.std(dim=1, keepdim=True) + epsilon)
    is_tied = rewards.eq(rewards[:, :1]).all(dim=1, keepdim=True)  # a mean of equal floats can differ from them
    return torch.where(is_tied, 0.0, advantages)
