"""Where the weights of a model that trains lie: whole in every process, or in shards that are gathered for use.

    whole      trainer=cpu, single_gpu, ddp, zero2
    by FSDP2   trainer=fsdp: a shard of each layer in every process
    by ZeRO-3  trainer=zero3: the same by DeepSpeed

Shards are used in two ways. In a forward pass that trains each layer is gathered when its turn comes and let go of
after it; that is `run`, which all processes must call equally often. Sampling reads every layer for every token, so
`gathered` gathers all layers once and lets go of them at the end; inside it each process may do as much as it likes, or
nothing.

FSDP and ZeRO-3 act where a module is called. Our computations call the parts of a model, not the model; `ForwardPass`
is the module whose call is the whole of such a computation.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.training import processes

T = TypeVar("T")


class ForwardPass(nn.Module):
    """Its call is that of the function it is given; `model` holds the weights that are to be there meanwhile."""

    def __init__(self, model: nn.Module | None = None) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[], T]) -> T:
        """What `function` returns."""
        return function()


class HeldWeights(Protocol):
    """How one model's weights are held."""

    def gathered(self) -> AbstractContextManager:
        """Surrounds what reads all weights again and again, without gradients; all processes enter and leave it."""

    def run(self, function: Callable[[], T]) -> T:
        """What `function` returns, which is one forward pass; the gradient of it may follow. All processes call it."""


class WholeWeights:
    """All weights are in every process, whenever they are needed."""

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Nothing is to be done."""
        yield

    def run(self, function: Callable[[], T]) -> T:
        """Nothing is to be done."""
        return function()


class FsdpShards:
    """Shards `model` over all processes, a decoder layer or vision block at a time; the rest makes up the root.

    A tower and merger that keep their weights stay whole: features are made of a clip in the process that needs them,
    when it needs them. Weights that are trained are kept in float32 and gathered in `dtype`, gradients are added up in
    float32.

    Args:
        trains: False for a model that is never differentiated.
    """

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration,
        device: torch.device,
        dtype: torch.dtype,
        *,
        trains: bool = True,
    ) -> None:
        visual, decoder = model.model.visual, model.model.language_model
        is_tower_trained = any(weight.requires_grad for weight in visual.parameters())
        is_tower_sharded = is_tower_trained or not trains
        options = {
            "mesh": init_device_mesh(device.type, (processes.world_size(),)),
            "mp_policy": MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False),
            "ignored_params": set() if is_tower_sharded else set(visual.parameters()),
        }
        self.layers: list[FSDPModule] = [*(visual.blocks if is_tower_sharded else []), *decoder.layers]
        for layer in self.layers:
            fully_shard(layer, **options)
        self.root, self.trains = fully_shard(ForwardPass(model), **options), trains
        model.to(device)  # what is not sharded: buffers, and a tower that stays whole
        self.root(lambda: None)  # FSDP takes what is called first for the root
        self.root.reset_iter_state()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Gather every layer once, and keep it until the end."""
        for layer in self.layers:
            layer.set_reshard_after_forward(False, recurse=False)
        for unit in (self.root, *self.layers):
            unit.unshard()
        try:
            yield
        finally:
            for layer in self.layers:
                layer.set_reshard_after_forward(True, recurse=False)
            self._forget_calls()

    def run(self, function: Callable[[], T]) -> T:
        """Layers are gathered as they are called."""
        result = self.root(function)
        if not self.trains:
            self._forget_calls()
        return result

    def _forget_calls(self) -> None:
        """Let go of what is gathered, and of the order of calls.

        In a backward pass FSDP gathers ahead in the order of all calls before it. After sampling that order would
        differ between processes, which would then wait for each other for ever.
        """
        self.root.reset_iter_state()


class Zero3Shards:
    """DeepSpeed's shards: `strategy` holds its engine, `forward_pass` is a part of what the engine runs."""

    def __init__(self, strategy: DeepSpeedStrategy, forward_pass: ForwardPass) -> None:
        self.strategy, self.forward_pass = strategy, forward_pass

    def gathered(self) -> AbstractContextManager:
        """Gather all weights once; DeepSpeed takes its hooks off meanwhile."""
        import deepspeed  # not installed where it is not used

        return deepspeed.zero.unwrap_model_for_generation(self.strategy.model)

    def run(self, function: Callable[[], T]) -> T:
        """Weights are gathered as they are called, or looked at."""
        return self.forward_pass(function)


@contextmanager
def let_go_after(strategy: Any) -> Iterator[None]:
    """Surrounds a fit, after which DeepSpeed takes its hooks off the model, and the model off a list of its own.

    Else what it made for this fit would stay beside what it makes for the next one.
    """
    try:
        yield
    finally:
        if isinstance(strategy, DeepSpeedStrategy):
            from deepspeed.runtime.engine import DeepSpeedEngine
            from deepspeed.runtime.zero.parameter_offload import FWD_MODULE_STACK

            FWD_MODULE_STACK.clear()
            if isinstance(strategy.model, DeepSpeedEngine):
                strategy.model.destroy()


def shards_weights(strategy: Any) -> bool:
    """Whether a Lightning strategy leaves each process but a part of the weights."""
    return isinstance(strategy, ModelParallelStrategy) or (
        isinstance(strategy, DeepSpeedStrategy) and strategy.config["zero_optimization"]["stage"] == 3
    )
