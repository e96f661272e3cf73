"""One GRPO step as every side of `tests.benchmarks.step` has to make it: prompt, reward, objective, optimizer."""

import random
import string
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from museg.policy.loading import SpecialIds
from tests.benchmarks.measure import SIZES, Shape


@dataclass(frozen=True)
class Setup:
    """What all sides share.

    The learning rate is 0: the update is worked out and added as always, and every step starts from the same weights.
    """

    shape: Shape
    sizes: Mapping[str, int] = field(default_factory=lambda: dict(SIZES))
    checkpointing: bool = False
    lr: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    beta: float = 0.04
    clip: float = 0.2

    @staticmethod
    def never_sampled(ids: SpecialIds) -> list[int]:
        """Tokens that would end a completion before its length, and placeholders of pixels."""
        pixels = {ids.video_id, ids.image_id, ids.vision_start_id, ids.vision_end_id}
        return sorted(pixels | set(ids.stop_ids))


def text_of(num_tokens: int) -> str:
    """A prompt of so many tokens: capitals, which the tiny tokenizer spells one by one."""
    return "".join(random.Random(0).choices(string.ascii_uppercase, k=num_tokens))


def text_reward(text: str) -> float:
    """A number that follows from every character, 0 to 9.6: hardly two completions earn the same."""
    return sum(map(ord, text)) % 97 / 10


@torch.no_grad()
def move(decoder: nn.Module) -> None:
    """Change the weights, the same way in every decoder of one size, so that the policy is not its reference."""
    generator = torch.Generator().manual_seed(1)
    for parameter in decoder.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.002)
