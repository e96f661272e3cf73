"""Work recorded once on a GPU and replayed, so that its many small kernels do not wait for Python to start them.

Not run on a GPU yet.
"""

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def recorded(work: Callable[[], None], state: Sequence[Tensor]) -> Callable[[], None]:
    """Return what repeats `work`: a recording on a GPU, `work` itself elsewhere and where recording fails.

    Args:
        work: reads and writes tensors that stay where they are, never looks at their values, and may be done again
            once `state` is what it was.
        state: the tensors, of those that it changes, whose values it builds on.
    """
    if not state[0].is_cuda:
        return work
    before = [tensor.clone() for tensor in state]
    _rehearse(work)
    _restore(state, before)
    graph = torch.cuda.CUDAGraph()
    try:
        # other threads may go on with theirs meanwhile, such as the one that watches over several processes
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            work()
    except RuntimeError as error:
        warnings.warn(f"decoding goes on without CUDA graphs, which failed: {error}", stacklevel=2)
        _restore(state, before)
        return work
    return graph.replay


def _rehearse(work: Callable[[], None]) -> None:
    """Do the work once beside the current stream: libraries then allocate what may not be allocated in a recording."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)


def _restore(state: Sequence[Tensor], before: Sequence[Tensor]) -> None:
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)
