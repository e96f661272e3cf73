"""What a low-rank adapter is asked to be, and how large it gets; `museg.policy.adapter` puts it on a model.

**Source:** Hu et al., LoRA, arXiv 2106.09685; made by peft.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The projections of a decoder layer. The vision tower has some of the same names, and keeps its weights."""


@dataclass(frozen=True)
class LoraSettings:
    """An adapter on projections of every decoder layer, in place of training the model's own weights.

    Attributes:
        rank: width of the adapter; 0 means none, and the model's own weights train.
        alpha: what the adapter says is multiplied by alpha / rank.
        dropout: share of an adapter's inputs that a training step leaves out.
        targets: which of `PROJECTIONS` have one, by name; absent means no.
    """

    rank: int
    alpha: float
    dropout: float
    targets: Mapping[str, bool]

    def __post_init__(self) -> None:
        unknown = sorted(set(self.targets) - set(PROJECTIONS))
        rules = {
            "rank": (self.rank, self.rank >= 0, "0 (no adapter) or more"),
            "alpha": (self.alpha, self.alpha > 0, "above 0"),
            "dropout": (self.dropout, 0 <= self.dropout < 1, "0 or more and below 1"),
            "targets": (unknown or "none", not unknown and any(self.targets.values()), f"some of {PROJECTIONS}"),
        }
        for name, (value, holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"model.lora.{name}={value} must be {rule}")

    @property
    def pattern(self) -> str:
        """The full names of what is adapted, as a regular expression."""
        chosen = "|".join(name for name in PROJECTIONS if self.targets.get(name))
        return rf"model\.language_model\.layers\.\d+\.(self_attn|mlp)\.({chosen})"


def num_adapter_weights(model: nn.Module, lora: LoraSettings) -> int:
    """Numbers in the adapter of `model`, which has none yet and may lie on the meta device.

    A projection from `in` to `out` features gets two matrices, [rank, in] and [out, rank].
    """
    adapted = (layer for name, layer in model.named_modules() if re.fullmatch(lora.pattern, name))
    return sum(lora.rank * (layer.in_features + layer.out_features) for layer in adapted)
