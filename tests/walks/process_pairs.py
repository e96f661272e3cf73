"""Two real processes that train one run over gloo, started the way torchrun starts them."""

import multiprocessing
import os
import socket
import time
from collections.abc import Callable
from typing import Any

TRAINER = ("trainer.strategy=ddp", "trainer.devices=2")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def exit_codes_of(target: Callable[..., Any], *args: Any, timeout_s: float = 120) -> list[int]:
    """Run `target` in two processes that make up one job; their exit codes, -9 for one that was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["museg.training.run", "museg.config.job"])
    port = free_port()
    pair = [context.Process(target=_as_rank, args=(rank, port, target, args)) for rank in range(2)]
    for process in pair:
        process.start()
    end_s = time.monotonic() + timeout_s
    for process in pair:
        process.join(max(end_s - time.monotonic(), 0))
    codes = [process.exitcode for process in pair]
    for process in pair:
        process.kill()
    assert None not in codes, f"{target.__name__} did not end within {timeout_s} s"
    return codes


def _as_rank(rank: int, port: int, target: Callable[..., Any], args: tuple) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"}
    os.environ |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    target(*args)
