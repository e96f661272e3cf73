"""Real processes that train one run over gloo, two or more, started the way torchrun starts them."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from typing import Any

TRAINER = ("trainer=ddp_cpu",)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def exit_codes_of(target: Callable[..., Any], *args: Any, num_processes: int = 2, timeout_s: float = 120) -> list[int]:
    """Run `target` in processes that make up one job; their exit codes, -9 for one that was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["museg.training.run", "museg.config.job"])
    rendezvous = {"WORLD_SIZE": str(num_processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    ranks = range(num_processes)
    job = [context.Process(target=_as_rank, args=(rank, rendezvous, target, args)) for rank in ranks]
    for process in job:
        process.start()
    end_s = time.monotonic() + timeout_s
    for process in job:
        process.join(max(end_s - time.monotonic(), 0))
    codes = [process.exitcode for process in job]
    for process in job:
        process.kill()
    assert None not in codes, f"{target.__name__} did not end within {timeout_s} s"
    return codes


def _as_rank(rank: int, rendezvous: dict[str, str], target: Callable[..., Any], args: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"}
    os.environ |= rendezvous | {"LOCAL_WORLD_SIZE": rendezvous["WORLD_SIZE"]}
    target(*args)
