"""A call of the library's decoder may bring the function that attends, in place of the kernel the model is set to.

`run_decoder(..., **attended_by(function))` hands it on to every layer. It is called with the attention module and, once
rotated, queries [R, heads, L, width], keys and values [R, key heads, L, width], and returns [R, L, heads, width].

The kernels are wrapped under the names in use, not given one of our own: gradient checkpointing looks the name up again
in the backward pass, so a model could not be switched for a call, and switching it for good would take its kernel from
all calls that bring no function.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from museg.policy.loading import ATTENTION_KERNELS

Attend = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]


def _overridable(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """The library's `kernel`, but for calls that bring a function of their own."""

    @wraps(kernel)
    def attention(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Any:
        attend = options.pop("attend", None)
        if attend is None:
            return kernel(module, query, key, value, *args, **options)
        return attend(module, query, key, value), None

    return attention


def attended_by(attend: Attend) -> dict[str, Any]:
    """Keywords for the decoder, or one of its layers or attention modules, that let `attend` do it."""
    return {"attend": attend}


def check_kernel(config: Any, *, instead: str | None = None) -> None:
    """Raise ValueError where a decoder of that text configuration would not call the function that it is given.

    Args:
        instead: the option that does without, where the decoder trains: the function then cannot do its dropout.
    """
    kernel, dropout = config._attn_implementation, config.attention_dropout
    if kernel not in ATTENTION_KERNELS:
        raise ValueError(
            f"attention {kernel!r} cannot be replaced for a call, so nothing can share prompts: "
            f"use one of {', '.join(ATTENTION_KERNELS)}"
        )
    if instead and dropout:
        raise ValueError(f"attention with dropout {dropout} cannot share prompts: use none, or {instead}")


for _name in ATTENTION_KERNELS:
    AttentionInterface.register(_name, _overridable(AttentionInterface()[_name]))
