"""Policies with a low-rank adapter that says something, as one does after some training."""

import torch

from museg.policy.adapter import adapter_weights, attach
from museg.policy.loading import Policy
from museg.policy.lora import PROJECTIONS, LoraSettings


def lora(rank: int = 4, dropout: float = 0.0) -> LoraSettings:
    """An adapter on all projections."""
    return LoraSettings(rank, alpha=8.0, dropout=dropout, targets=dict.fromkeys(PROJECTIONS, True))


def adapted(policy: Policy, settings: LoraSettings | None = None) -> Policy:
    """The policy itself, with an adapter on all projections that has moved."""
    policy.lora = settings or lora()
    attach(policy, seed=0)
    return moved(policy, seed=0)


def moved(policy: Policy, seed: int) -> Policy:
    """The policy itself, its adapter changed as by a training that depends on `seed`."""
    generator = torch.Generator().manual_seed(seed)
    for weight in adapter_weights(policy.model).values():
        weight += 0.1 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
    return policy
