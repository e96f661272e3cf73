"""How far the answering is and how long it will take: a moving bar on a terminal, now and then a line in a file."""

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY_S = 30.0
"""Where the output is a file, a line is printed this often."""


class AnsweringProgress:
    """Told the number of answered samples, of all samples, and a few words; a context that gives the terminal back."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        self.title, self.console = title, console or Console()
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console) if self.console.is_terminal else None
        self._began: tuple[float, int] | None = None
        self._printed_at_s = 0.0

    def __enter__(self) -> "AnsweringProgress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, num_done: int, num_all: int, state: str) -> None:
        """Show that `num_done` of `num_all` samples are answered; the first call tells what was done before."""
        is_first = self._began is None
        self._began = self._began or (time.monotonic(), num_done)
        if self.bar is None:
            self._print(num_done, num_all, state, is_due=is_first or num_done == num_all)
            return
        if is_first:
            self.bar.start()
            self.bar.add_task(self.title, total=num_all, completed=num_done, state=state)
        self.bar.update(self.bar.task_ids[0], completed=num_done, state=state)

    def _print(self, num_done: int, num_all: int, state: str, *, is_due: bool) -> None:
        now_s = time.monotonic()
        if not is_due and now_s - self._printed_at_s < PLAIN_EVERY_S:
            return
        self._printed_at_s = now_s
        began_s, num_before = self._began
        left = time_left(now_s - began_s, num_done - num_before, num_all - num_done)
        line = f"{self.title} {num_done}/{num_all}  {state}{left}"
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)


def time_left(elapsed_s: float, num_done: int, num_left: int) -> str:
    """In words, at the pace so far; nothing where there is no pace yet or nothing is left."""
    if num_done < 1 or num_left < 1:
        return ""
    minutes = elapsed_s / num_done * num_left / 60
    return f"  about {minutes / 60:.1f} h left" if minutes >= 90 else f"  about {max(1, round(minutes))} min left"
