"""Which weights of a run learn, counted from sizes: as the model says, or as the phases do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.config.methods import has_heads
from museg.meco.alignment import AlignmentHeads
from museg.phases.schedule import build_schedule
from museg.phases.trained_parts import TrainedParts
from museg.policy.lora import num_adapter_weights
from museg.targets import build
from museg.training.train_parts import part_names


@dataclass(frozen=True)
class Learning:
    """What learns: weights of the model itself, by name and by their number, and numbers of an adapter and of heads."""

    names: frozenset[str]
    own: int
    adapter: int
    heads: int

    @property
    def all(self) -> int:
        """All numbers that learn."""
        return self.own + self.adapter + self.heads


def learning(model: Qwen2_5_VLForConditionalGeneration, settings: Mapping[str, Any]) -> Learning:
    """What learns in the phase in which most does; `model` is without its adapter and may lie on the meta device."""
    phases = build_schedule(**settings["phase"]).phases
    return max((_learning(model, settings, phase.trains) for phase in phases), key=lambda found: found.all)


def _learning(
    model: Qwen2_5_VLForConditionalGeneration, settings: Mapping[str, Any], parts: TrainedParts | None
) -> Learning:
    lora, sizes = build(settings["model"]["lora"]), {name: one.numel() for name, one in model.named_parameters()}
    if parts is not None:
        names = part_names(model, parts, is_adapted=bool(lora.rank))
    else:
        names = set() if lora.rank else {name for name, weight in model.named_parameters() if weight.requires_grad}
    has_adapter = lora.rank and (parts is None or parts.language)
    heads = 0
    if has_heads(settings) and (parts is None or parts.heads):
        with torch.device("meta"):
            made = AlignmentHeads(model.config.text_config.hidden_size)
        heads = sum(weight.numel() for weight in made.parameters())
    adapter = num_adapter_weights(model, lora) if has_adapter else 0
    return Learning(frozenset(names), sum(sizes[name] for name in names), adapter, heads)
