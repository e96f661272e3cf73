"""A policy's low-rank adapter: put on, read, written, let rest or replaced for a while, folded into the weights.

peft replaces single projections of the decoder by modules that call them. The model keeps its class and its parts, so
whatever calls the decoder's parts calls the adapter with them. peft itself is loaded where an adapter is asked for.
"""

import copy
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from museg.policy.loading import Policy

TRAINED, REFERENCE = "trained", "reference"
"""The adapter that learns, and what it was at the start of a fit."""


def attach(policy: Policy, seed: int) -> None:
    """Put the adapter that `policy.lora` describes on its model, in place: from here on it alone trains.

    It begins by changing nothing (one of its two matrices is zero); the other one depends on `seed` alone. Raises
    ValueError where peft is not installed.
    """
    add(policy, TRAINED, seed)
    for name, weight in policy.model.named_parameters():
        weight.requires_grad_(is_of(name, TRAINED))


def add(policy: Policy, adapter: str, seed: int = 0) -> None:
    """Add an adapter; the trained one acts. Its weights are float32: bfloat16 would swallow small steps."""
    peft, lora = _peft(), policy.lora
    config = peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.pattern, bias="none"
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        torch.manual_seed(seed)
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")  # two are meant
        peft.functional.inject_adapter_in_model(config, policy.model, adapter)
    peft.functional.cast_adapter_dtype(policy.model, adapter)
    peft.functional.set_adapter(policy.model, TRAINED)


def _peft():
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # peft loads it; it tells of kernels nobody asked for
    try:
        import peft.functional
    except ImportError as error:
        raise ValueError("model.lora needs the package peft: pip install -e '.[lora]', or model.lora.rank=0") from error
    return peft


def is_of(name: str, adapter: str) -> bool:
    """Whether the weight called `name` belongs to that adapter."""
    return ".lora_" in name and f".{adapter}." in name


def only(weights: Iterable[tuple[str, Tensor]], adapter: str) -> dict[str, Tensor]:
    """Those of an adapter, under names that do not hold its own."""
    return {name.replace(f".{adapter}.", "."): weight for name, weight in weights if is_of(name, adapter)}


def adapter_weights(model: nn.Module, adapter: str = TRAINED) -> dict[str, Tensor]:
    """The weights of an adapter as they lie in the model, without gradients; empty where there is none."""
    return {name: weight.detach() for name, weight in only(model.named_parameters(), adapter).items()}


def load_adapter(model: nn.Module, weights: Mapping[str, Tensor], adapter: str = TRAINED) -> None:
    """Write `weights`, named as by `adapter_weights`, into an adapter.

    Raises ValueError unless these are all of it, in its shapes.
    """
    own = adapter_weights(model, adapter)
    told = {name: list(weight.shape) for name, weight in weights.items()}
    if told != {name: list(weight.shape) for name, weight in own.items()}:
        raise ValueError(
            f"these are the weights of another adapter: {len(told)} tensors for {len(own)}, or other names or shapes. "
            "Give model.lora the rank and targets they were made with"
        )
    for name, weight in own.items():
        weight.copy_(weights[name])


def load_trained(policy: Policy, weights: Mapping[str, Tensor]) -> None:
    """Write what a training wrote, under the names in the model: all weights, or those of the adapter that trains.

    Beside an adapter there may be weights of the model itself that trained, too. Raises ValueError where an adapter or
    these do not fit.
    """
    if policy.lora is None:
        policy.model.load_state_dict(weights)
        return
    load_adapter(policy.model, only(weights.items(), TRAINED))
    own = dict(policy.model.named_parameters())
    for name, weight in weights.items():
        if is_of(name, TRAINED):
            continue
        if name not in own or own[name].shape != weight.shape:
            raise ValueError(f"weights of another model: it has no {name} of shape {list(weight.shape)}")
        own[name].detach().copy_(weight)


@contextmanager
def acting(model: nn.Module, adapter: str | None) -> Iterator[None]:
    """Let another adapter act (None: none at all), and nothing train; afterwards all is as it was, errors or not."""
    layers = [layer for layer in model.modules() if isinstance(layer, _layer_type())]
    before = [(layer.active_adapters, layer.disable_adapters) for layer in layers]
    learns = [(weight, weight.requires_grad) for weight in model.parameters()]  # peft sets this with every switch
    try:
        for layer in layers:
            layer.set_adapter(adapter or layer.active_adapters)
            layer.enable_adapters(adapter is not None)
        for weight, _ in learns:
            weight.requires_grad_(False)
        yield
    finally:
        for layer, (active, was_off) in zip(layers, before, strict=True):
            layer.set_adapter(active)
            layer.enable_adapters(not was_off)
        for weight, did_learn in learns:
            weight.requires_grad_(did_learn)


@contextmanager
def drawn_from(policy: Policy, seed: int) -> Iterator[None]:
    """Draw the adapter's dropout, if it has any, from `seed` and not from what was drawn before."""
    if policy.lora is None or not policy.lora.dropout:
        yield
        return
    with torch.random.fork_rng(devices=[policy.device] if policy.device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def merged(policy: Policy) -> Policy:
    """An ordinary policy that computes the same: a copy whose weights hold the adapter. Without one, `policy` itself.

    The copy lies in the host's memory, because a GPU that trains may have no room for it, and in float32 where the
    weights are bfloat16, because these could not hold what an adapter has learnt.
    """
    if not adapter_weights(policy.model):
        return policy
    model = _copied(policy.model)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, _layer_type()):
            layer.merge(adapter_names=[TRAINED])
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config  # peft's note of what it had put on
    return Policy(model, policy.tokenizer, policy.ids)


def _copied(model: nn.Module) -> nn.Module:
    """A copy on the processor, in float32 or better, that is never anywhere else."""
    copies: dict[int, Tensor] = {}
    for weight in model.parameters():
        wide = torch.promote_types(weight.dtype, torch.float32)
        copies[id(weight)] = nn.Parameter(weight.detach().to("cpu", wide, copy=True), requires_grad=False)
    for buffer in model.buffers():
        copies[id(buffer)] = buffer.to("cpu", copy=True)
    return copy.deepcopy(model, copies)


def _layer_type() -> type:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return BaseTunerLayer
