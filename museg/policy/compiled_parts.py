"""Norms and feed-forward layers compiled by torch: their many small steps become few kernels.

Attention stays out of it: who sees whom changes with every row, and the functions that attend (`shared_prefix`,
`cascade`) are chosen call by call. A class is compiled once for all of its layers, for any number of tokens, and for
copies of the model too. Nothing of this has been run on a GPU.
"""

from functools import cache
from typing import Any

import torch
import torch._functorch.config
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLMLP, Qwen2_5_VLRMSNorm, Qwen2MLP

from museg.policy.fallback import or_plainly

COMPILED = (Qwen2_5_VLRMSNorm, Qwen2MLP, Qwen2_5_VLMLP)
MAX_KINDS_OF_CALLS = 32
"""Tower or decoder, with gradient or without, whatever precision, packed or not: each is compiled by itself."""


def compile_parts(model: Qwen2_5_VLForConditionalGeneration, backend: str = "inductor") -> None:
    """Let the norms and feed-forward layers of `model` be compiled when they are first called.

    Where that fails one line says so and the layers go on as they are. `backend` is one of torch.compile's.
    """
    for module in model.modules():
        if type(module) in COMPILED:
            module.__class__ = _compiled_class(type(module), backend)


def has_compiled_parts(model: nn.Module) -> bool:
    """Whether `compile_parts` has been here."""
    return any(isinstance(module, COMPILED) and type(module) not in COMPILED for module in model.modules())


@cache
def _compiled_class(kind: type[nn.Module], backend: str) -> type[nn.Module]:
    """The layer's class with a compiled forward; weights and their names stay."""
    compile_backward_too()
    compiled = torch.compile(kind.forward, dynamic=True, backend=backend, recompile_limit=MAX_KINDS_OF_CALLS)
    either = or_plainly(compiled, kind.forward, f"{kind.__name__} (trainer.compile)")

    def forward(self: nn.Module, *inputs: Tensor, **options: Any) -> Tensor:
        return either(self, *inputs, **options)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def compile_backward_too() -> None:
    """Let torch compile a function's backward pass with its forward pass: what fails, fails where it is noticed."""
    torch._functorch.config.force_non_lazy_backward_lowering = True
