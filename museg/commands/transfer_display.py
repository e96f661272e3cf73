"""How far a preparation is: moving bars on a terminal, now and then a line in a file."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 30.0
"""Where the output is a file, a line is printed this often."""
BYTES_FROM = 2**20
"""Amounts from here on are bytes, shown as MiB; numbers of files stay below."""


class TransferDisplay:
    """Told what is done, how much of it is and how much there is; a context that gives the terminal back."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}", markup=False),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console) if self.console.is_terminal else None
        self._tasks: dict[str, TaskID] = {}
        self._printed_at_s = time.monotonic()

    def __enter__(self) -> "TransferDisplay":
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, what: str, num_done: int, num_all: int | None) -> None:
        amount = _amount(num_done, num_all)
        if self.bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self.bar.add_task(what, total=num_all, amount=amount)
            self.bar.update(self._tasks[what], completed=num_done, total=num_all, amount=amount)
        elif time.monotonic() - self._printed_at_s >= PLAIN_EVERY_S:
            self._printed_at_s = time.monotonic()
            self.console.print(f"{what}  {amount}", highlight=False, markup=False, soft_wrap=True)


def _amount(num_done: int, num_all: int | None) -> str:
    if max(num_done, num_all or 0) >= BYTES_FROM:
        of = "" if num_all is None else f" of {num_all / 2**20:,.0f}"
        return f"{num_done / 2**20:,.0f}{of} MiB"
    return f"{num_done}" if num_all is None else f"{num_done} of {num_all}"
