"""Clocks and ceilings of a device, for `tests.benchmarks.gpu`."""

import os
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from tests.benchmarks.gpu_floor import Peaks
from tests.benchmarks.gpu_shapes import GIB

Run = Callable[[], object]


def wait(device: torch.device) -> None:
    """Until the device has done everything."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed_s(
    prepare: Callable[[], Run],
    device: torch.device,
    *,
    left_s: float,
    limit_s: float,
    num_runs: int,
    precision: Callable[[], AbstractContextManager] = nullcontext,
) -> list[float]:
    """Seconds of each run, the first of which warms up: it compiles kernels and makes the optimizer's state.

    Args:
        prepare: does what is not timed, and returns what is.
        left_s: where another run like the first would not end within it, there is none, and the first is the result.
        limit_s: the same for all runs after the second.
        num_runs: most runs after the first.

    Returns one number where there was no time to warm up, otherwise the first and those that count.
    """
    runs: list[float] = []
    start_s = time.perf_counter()
    while len(runs) <= num_runs:
        with precision():
            run = prepare()
            wait(device)
            begin_s = time.perf_counter()
            run()
            wait(device)
            runs.append(time.perf_counter() - begin_s)
        elapsed_s = time.perf_counter() - start_s
        if elapsed_s * (1 + 1 / len(runs)) > (left_s if len(runs) == 1 else limit_s):
            break
    return runs


def measured_peaks(device: torch.device) -> Peaks:
    """What a large product of random matrices and a large copy reach."""
    is_cpu = device.type == "cpu"
    size, dtype, count = (1024, torch.float32, 1) if is_cpu else (8192, torch.bfloat16, 20)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = torch.empty_like(left)
    source = torch.randn(2**24 if is_cpu else 2**30, device=device)
    target = torch.empty_like(source)

    def seconds(work: Run) -> float:
        runs = timed_s(lambda: lambda: [work() for _ in range(count)], device, left_s=20, limit_s=10, num_runs=5)
        return statistics.median(runs[1:] or runs) / count

    product_s = seconds(lambda: torch.mm(left, right, out=product))
    copy_s = seconds(lambda: target.copy_(source))
    return Peaks(2 * size**3 / product_s, 2 * source.nbytes / copy_s)


def capacity_gib(device: torch.device) -> float:
    """Memory of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory / GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
