"""The frozen policy that the KL term holds the trained one to."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.policy.loading import Policy

WEIGHTS_FILE = "reference.safetensors"


class Reference:
    """A frozen copy of a policy.

    Not a module: a training module that owns one registers no second set of weights, saves none, and hands none to a
    sharding strategy.
    """

    def __init__(self, policy: Policy) -> None:
        model = copy.deepcopy(policy.model)
        model.requires_grad_(False)
        model.eval()
        self.policy = Policy(model, policy.tokenizer, policy.ids)

    def re_anchor(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        """Take over the weights that `model` has now."""
        self.policy.model.load_state_dict(model.state_dict())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Reference":
        """Move the copy, and let it compute in `dtype`; returns itself."""
        self.policy.model.to(device=device)
        for weight in self.policy.model.parameters():  # buffers stay: rounded frequencies would turn tokens radians off
            weight.data = weight.data.to(dtype or weight.dtype)
        return self

    def save(self, folder: Path) -> None:
        """Write the weights below `folder` (made if absent)."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_model(self.policy.model, str(Path(folder) / WEIGHTS_FILE))

    def load(self, folder: Path) -> None:
        """Read weights that `save` wrote."""
        load_model(self.policy.model, str(Path(folder) / WEIGHTS_FILE))
