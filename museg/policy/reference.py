"""The frozen policy that the KL term holds the trained one to."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.files import share_as_usual
from museg.policy.adapter import REFERENCE, acting, adapter_weights, add, load_adapter
from museg.policy.engine import evaluation_mode
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

    @contextmanager
    def acting(self) -> Iterator[Policy]:
        """The policy to ask for log-probabilities, without gradients."""
        with torch.no_grad():
            yield self.policy

    def re_anchor(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        """Take over the weights that `model` has now."""
        self.policy.model.load_state_dict(model.state_dict())

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Reference":
        """Move the copy, and let it compute in `dtype`; returns itself."""
        for weight in self.policy.model.parameters():  # one by one: the device never holds them in the type they had
            weight.data = weight.data.to(dtype or weight.dtype).to(device)
        self.policy.model.to(device)  # buffers keep their type: rounded frequencies would turn tokens radians off
        return self

    def save(self, folder: Path) -> None:
        """Write the weights below `folder` (made if absent)."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        save_model(self.policy.model, str(Path(folder) / WEIGHTS_FILE))
        share_as_usual(Path(folder) / WEIGHTS_FILE)

    def load(self, folder: Path) -> None:
        """Read weights that `save` wrote."""
        load_model(self.policy.model, str(Path(folder) / WEIGHTS_FILE))


class AdapterReference:
    """The policy itself with the adapter that it had once, which is all that is kept and written.

    An adapter that changes nothing yet is switched off instead: the reference is then the base model. Any other lies
    frozen beside the trained one, in the same model, and moves with it.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.anchor(adapter_weights(policy.model))

    @contextmanager
    def acting(self) -> Iterator[Policy]:
        """The policy while it is the reference: without gradients and dropout. Afterwards it is as it was."""
        with evaluation_mode(self.policy.model), acting(self.policy.model, self.adapter):
            yield self.policy

    def anchor(self, weights: Mapping[str, Tensor]) -> None:
        """Be the policy with these weights in its adapter. Raises ValueError where they do not fit."""
        says_something = any(weight.any() for name, weight in weights.items() if ".lora_B." in name)
        self.adapter = REFERENCE if says_something else None
        if says_something:
            if not adapter_weights(self.policy.model, REFERENCE):
                add(self.policy, REFERENCE)
            load_adapter(self.policy.model, weights, REFERENCE)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "AdapterReference":
        """Nothing is to be moved: it is where the policy is. Returns itself."""
        return self

    def save(self, folder: Path) -> None:
        """Write the adapter below `folder` (made if absent); no weights where it is switched off."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        weights = adapter_weights(self.policy.model, self.adapter) if self.adapter else {}
        save_file(weights, Path(folder) / WEIGHTS_FILE)
        share_as_usual(Path(folder) / WEIGHTS_FILE)

    def load(self, folder: Path) -> None:
        """Read an adapter that `save` wrote."""
        self.anchor(load_file(Path(folder) / WEIGHTS_FILE))


def reference_of(policy: Policy) -> Reference | AdapterReference:
    """A reference that is what `policy` is now and stays so."""
    return AdapterReference(policy) if policy.lora else Reference(policy)
