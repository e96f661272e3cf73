"""Stopping a run by a signal so that it can be continued, also by a scheduler that starts its job again."""

import os
import signal
import sys
from enum import IntEnum
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from museg.training import processes


class Stopped(Exception):
    """The run was asked to stop by a signal and left a resumable folder."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class Asked(IntEnum):
    """What the signals that have arrived in any process ask of all of them."""

    NOTHING = 0
    SAVE = 1
    STOP = 2


class StopRequest:
    """Remembers SIGTERM, SIGUSR2 or Ctrl-C until the running step is finished; a second Ctrl-C stops at once.

    SIGUSR2 is what submitit has SLURM send before the time limit. In its jobs SIGTERM asks for a checkpoint only, and
    the run goes on: SLURM sends it some time before it kills, and queues the job again only if it kills it. A job that
    ends by itself meanwhile has failed.

    Lightning puts its own handlers in place when a fit begins, so ours are set by the first hook after that. When the
    fit ends it puts back those of before: between fits a signal meets submitit, which queues the job again at once.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self.warnings = {signal.SIGTERM} if "SUBMITIT_EXECUTOR" in os.environ else set()

    def agree(self) -> Asked:
        """What signals in any process ask for; all of them call this at the same point, and do the same."""
        arrived = [number for number in processes.gather(self.signal_number) if number is not None]
        final = [number for number in arrived if number not in self.warnings]
        self.signal_number = final[0] if final else None  # a warning is answered once
        if final:
            return Asked.STOP
        return Asked.SAVE if arrived else Asked.NOTHING

    def listen(self) -> None:
        """Take over the signals."""
        for number in self.SIGNALS:
            signal.signal(number, self._remember)

    def raise_if_requested(self) -> None:
        """Raise `Stopped` once the work in hand is safe on disk."""
        if self.agree() is Asked.STOP:
            raise Stopped(self.signal_number)

    def _remember(self, number: int, frame: Any) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        if number in self.warnings:
            self.signal_number = self.signal_number or number
            return
        self.signal_number = number
        if processes.is_first():
            print("\nStopping after this step; press Ctrl-C again to stop at once.", flush=True)


class StopListener(Callback):
    """Lets a `StopRequest` hear signals while a fit runs."""

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stop.listen()


def requeue(stopped: Stopped) -> None:
    """Give SIGUSR2, now that the run is safe on disk, to submitit's handler; returns where there is none.

    In the first process it queues the job again and exits; the others end here, without an error that would have SLURM
    end the first one.
    """
    handler = signal.getsignal(signal.SIGUSR2)
    if stopped.signal_number == signal.SIGUSR2 and callable(handler):
        handler(signal.SIGUSR2, None)
        sys.exit(0)
