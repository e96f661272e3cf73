"""What may not work on a machine: it is tried, and where it fails one line says so and the plain way goes on."""

import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch.distributed
from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

COMPILATION_ERRORS = (TorchDynamoException, FailOnRecompileLimitHit)
"""What torch.compile raises where a function cannot be compiled, for want of a compiler too."""
MAX_REASON_CHARS = 300


class FellBack(UserWarning):
    """Something slower, or needing more memory, is done instead of what could have been done."""


def tell(message: str) -> None:
    """Warn in one line, without a place in the source; of several processes the first one does."""
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        warnings.warn_explicit(message, FellBack, "museg", 1)


def or_plainly(
    compiled: Callable[..., Any], plain: Callable[..., Any], what: str, instead: str = "it is done uncompiled"
) -> Callable[..., Any]:
    """Return what calls `compiled`, and from its first failure to compile on `plain`, which takes the same arguments.

    Args:
        what: the part that cannot be compiled, for the one line that tells.
        instead: what happens now, for the same line.
    """
    has_failed = False

    @wraps(compiled)
    def either(*args: Any, **options: Any) -> Any:
        nonlocal has_failed
        if not has_failed:
            try:
                return compiled(*args, **options)
            except COMPILATION_ERRORS as error:
                has_failed = True
                tell(f"{what} cannot be compiled here, {instead}: {reason(error)}")
        return plain(*args, **options)

    return either


def reason(error: BaseException) -> str:
    """What began it, in one line: such errors wrap others, and bring a trace along."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {line}"[:MAX_REASON_CHARS]
