"""The processes of one run: how they meet, which one writes, and what they tell each other.

Process `rank` of `world_size` takes the prompts at places rank, rank + world_size, ... of every step. The first process
alone writes files and prints. Everything they exchange goes through `gather`, which all of them must call at the same
point; a run of one process passes through here unchanged.
"""

import atexit
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import lightning.pytorch as pl
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, Strategy
from torch import distributed

from museg.data.quarantine import Quarantine
from museg.error_files import FolderTaken

T = TypeVar("T")


@contextmanager
def joined(trainer: pl.Trainer) -> Iterator[None]:
    """Meet the other processes that `trainer` counts on; they are started here unless torchrun or SLURM did.

    When the first process fails, those it started are ended: they would wait for it. Raises `ValueError` when more
    processes were started than the trainer uses.
    """
    launcher = trainer.strategy.launcher
    if launcher is None:
        check_single()
        yield
        return
    launcher.launch(trainer.strategy.setup_environment)
    atexit.register(leave)  # kept until then: who reports is asked after the training, and a sweep has further members
    try:
        yield
    except BaseException:
        launcher.kill(signal.SIGKILL)
        launcher.procs.clear()  # or Lightning, which watches them, would end this process too
        raise


def check_single() -> None:
    """Refuse to be one of several processes that know nothing of each other: all would write into one folder."""
    started = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_STEP_NUM_TASKS") or 1)
    if started > 1:
        raise ValueError(
            f"{started} processes were started, but this trainer is one process: choose trainer=ddp with "
            f"trainer.devices x trainer.num_nodes = {started}, or start one process"
        )


def leave() -> None:
    """Close the connections; gloo's threads abort a process that ends with them open."""
    if _are_joined():
        distributed.destroy_process_group()


def rank() -> int:
    """This process' number, from 0."""
    return distributed.get_rank() if _are_joined() else 0


def world_size() -> int:
    """How many processes train this run."""
    return distributed.get_world_size() if _are_joined() else 1


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return rank() == 0


def gather(value: T) -> list[T]:
    """The value of every process, in the order of their ranks."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def on_first(make: Callable[[], T]) -> T:
    """What `make` returns in the first process, told to all; where it fails, all fail, with `ValueError` elsewhere.

    That a folder is taken is `FolderTaken` everywhere.
    """
    told, caught = None, None
    if is_first():
        try:
            told = (make(), None)
        except Exception as error:
            told, caught = (None, error if isinstance(error, FolderTaken) else ValueError(str(error))), error
    value, fault = gather(told)[0]
    if caught is not None:
        raise caught
    if fault is not None:
        raise fault
    return value


def first_alone(make: Callable[[], T]) -> T:
    """Call `make` in the first process, then in the others, who find on disk what it left there."""
    made: list[T] = []
    on_first(lambda: made.append(make()))
    return made[0] if made else make()


def barrier() -> None:
    """Wait until every process is here."""
    gather(None)


def shared_folder(own: Path) -> Path:
    """The run folder of the first process. The one made for this process, if that is another, goes if it is empty.

    Folders are named by the time of day, which differs between processes.
    """
    folder = on_first(lambda: own)
    if folder != own:
        with suppress(OSError):
            own.rmdir()
    return folder


def share_quarantine(quarantine: Quarantine) -> None:
    """Tell each other of the unreadable clips found since the last time."""
    for rows in gather(quarantine.untold()):
        for row in rows:
            quarantine.add(**row)


def in_order(parts: Sequence[Sequence[tuple[Any, T]]]) -> list[T]:
    """What several processes hold as (place, thing), as one list by place; things of one place stay as they were."""
    return [thing for _, thing in sorted((pair for part in parts for pair in part), key=lambda pair: pair[0])]


def gradient_exchange(strategy: Strategy, *, is_last: bool) -> AbstractContextManager:
    """Surrounds one of several backward passes of a step: gradients are exchanged in the last one where possible.

    DeepSpeed shards gradients, exchanges them in every pass and wants to know which one is the last. It tells passes
    apart by the forward pass of its engine before each; all of a step lie in one here, so it is told of each of them.
    Left untold, ZeRO-3 would keep the gradient of the last pass alone.
    """
    if isinstance(strategy, DeepSpeedStrategy):
        strategy.model.set_gradient_accumulation_boundary(is_last)
        strategy.model.optimizer.clear_backward_seen_flag()
    elif isinstance(strategy, DDPStrategy) and not is_last:
        return strategy.block_backward_sync()
    return nullcontext()


def _are_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
