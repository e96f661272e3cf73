"""Stopping a run by SIGTERM or Ctrl-C so that it can be continued."""

import signal
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from museg.training import processes


class Stopped(Exception):
    """The run was asked to stop by a signal and left a resumable folder."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.exit_code = 128 + signal_number


class StopRequest:
    """Remembers SIGTERM or Ctrl-C until the running step is finished; a second Ctrl-C stops at once.

    Lightning puts its own handlers in place when a fit begins, so ours are set by the first hook after that.
    """

    SIGNALS = (
        signal.SIGTERM,
        signal.SIGINT,
        signal.SIGUSR2,
    )  # the last is what submitit sends before a SLURM time limit

    def __init__(self) -> None:
        self.signal_number: int | None = None

    def agree(self) -> bool:
        """Whether a signal has arrived in any process; all of them ask at the same point, and stop together."""
        arrived = [number for number in processes.gather(self.signal_number) if number is not None]
        self.signal_number = arrived[0] if arrived else self.signal_number
        return bool(arrived)

    def listen(self) -> None:
        """Take over the signals."""
        for number in self.SIGNALS:
            signal.signal(number, self._remember)

    def raise_if_requested(self) -> None:
        """Raise `Stopped` once the work in hand is safe on disk."""
        if self.agree():
            raise Stopped(self.signal_number)

    def _remember(self, number: int, frame: Any) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
        if processes.is_first():
            print("\nStopping after this step; press Ctrl-C again to stop at once.", flush=True)


class StopListener(Callback):
    """Lets a `StopRequest` hear signals while a fit runs."""

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self.stop.listen()
