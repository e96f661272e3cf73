import warnings

import pytest
import torch

from museg.policy.fallback import FellBack, or_plainly, reason, tell


def plain(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def broken_backend(graph, inputs):
    raise RuntimeError("no compiler\nand a long trace")


def counted(function):
    """The function, and a list that grows with its calls."""
    calls = []
    return lambda *args: (calls.append(1), function(*args))[1], calls


def test_what_compiles_is_used():
    unused, calls = counted(plain)
    either = or_plainly(torch.compile(lambda x: x * 3, backend="eager"), unused, "tripling")
    assert either(torch.ones(2)).tolist() == [3.0, 3.0] and calls == []


def test_what_does_not_compile_is_told_once_and_done_plainly():
    tried, tries = counted(torch.compile(lambda x: x * 2, backend=broken_backend))
    either = or_plainly(tried, plain, "doubling", "it takes longer")
    with pytest.warns(FellBack) as told:
        assert [either(torch.ones(1)).item() for _ in range(3)] == [2.0, 2.0, 2.0]
    assert [str(one.message) for one in told] == [
        "doubling cannot be compiled here, it takes longer: RuntimeError: no compiler"
    ]
    assert len(tries) == 1


def test_a_mistake_of_the_function_itself_is_raised():
    def divide(x):
        return x.view(3) / 0

    with pytest.warns(FellBack), pytest.raises(RuntimeError, match="shape '\\[3\\]' is invalid"):
        or_plainly(torch.compile(divide, backend="eager"), divide, "dividing")(torch.ones(2))


def test_other_errors_pass():
    def full(x):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        or_plainly(full, plain, "doubling")(torch.ones(1))


def test_the_line_is_one_line():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        tell("attention is sdpa: flash-attn is not installed")
    one = told[0]
    shown = warnings.formatwarning(one.message, one.category, one.filename, one.lineno, one.line)
    assert shown == "museg:1: FellBack: attention is sdpa: flash-attn is not installed\n"


def test_the_reason_is_what_began_it():
    try:
        try:
            raise FileNotFoundError("\n no g++ \nat line 3")
        except FileNotFoundError as error:
            raise RuntimeError("lowering failed") from error
    except RuntimeError as wrapped:
        assert reason(wrapped) == "FileNotFoundError: no g++"
