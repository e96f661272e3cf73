"""Where else a run is shown while it trains: dashboards that follow the run log of the first process."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lightning.pytorch.loggers import Logger

from museg.training import processes
from museg.training.run_log import LogRow, Mirror, RunLog


class Dashboard(Mirror, Protocol):
    """A mirror with an end. Opened by its constructor."""

    save_dir: Path

    def close(self, *, has_failed: bool) -> None:
        """Write what is left; a failed member of a sweep leaves nothing open to the next."""


class ScalarDashboard:
    """Shows the numbers of every step in one of Lightning's loggers, with our step as the x-axis."""

    def __init__(self, logger: Logger) -> None:
        self.logger, self.save_dir = logger, Path(logger.save_dir)

    def catch_up(self, rows: Iterable[LogRow]) -> None:
        """Nothing to do: the process that recorded these rows showed them."""

    def add(self, number: int, row: LogRow) -> None:
        if row.kind != "cold_start":
            self.logger.log_metrics(dict(row.metrics), step=row.step)

    def close(self, *, has_failed: bool) -> None:
        self.logger.finalize("failed" if has_failed else "success")


@contextmanager
def shown(log: RunLog | None, run_dir: Path, make: Callable[[Path], Sequence[Dashboard]]) -> Iterator[None]:
    """Open the dashboards in the first process, which has the log, let them follow it, and close them at the end.

    Raises `ValueError` in all processes where one cannot be opened.
    """
    dashboards: list[Dashboard] = []

    def open_all() -> None:
        dashboards.extend(make(run_dir))
        log.show_in(dashboards)

    try:
        processes.on_first(open_all)
        yield
    except BaseException:
        close(dashboards, has_failed=True)
        raise
    close(dashboards, has_failed=False)


def close(dashboards: Sequence[Dashboard], *, has_failed: bool) -> None:
    """Close each of them."""
    for dashboard in dashboards:
        dashboard.close(has_failed=has_failed)
