"""Where else a run is shown while it trains: dashboards that follow the run log of the first process."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from lightning.pytorch.loggers import Logger

from museg.training import processes
from museg.training.run_log import LogRow, Mirror, RunLog
from museg.training.stopping import Stopped


class Dashboard(Mirror, Protocol):
    """A mirror with an end. Opened by its constructor."""

    save_dir: Path

    def close(self, *, has_failed: bool) -> None:
        """Write what is left; a failed member of a sweep leaves nothing open to the next."""

    def pause(self) -> None:
        """Say that the run is to be continued, and wait for nothing: its job may be killed any moment."""


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

    def pause(self) -> None:
        self.logger.finalize("aborted")


@contextmanager
def shown(log: RunLog | None, run_dir: Path, make: Callable[[Path], Sequence[Dashboard]]) -> Iterator[None]:
    """Open the dashboards in the first process, which has the log, let them follow it, and close them at the end.

    Those of a stopped run are not waited for: they end with its process, after its job is queued again. Raises
    `ValueError` in all processes where one cannot be opened.
    """
    dashboards: list[Dashboard] = []

    def open_all() -> None:
        dashboards.extend(make(run_dir))
        log.show_in(dashboards)

    try:
        processes.on_first(open_all)
        yield
    except (Stopped, SystemExit):  # submitit's own handler exits
        end(dashboards, lambda dashboard: dashboard.pause())
        raise
    except BaseException:
        end(dashboards, lambda dashboard: dashboard.close(has_failed=True))
        raise
    end(dashboards, lambda dashboard: dashboard.close(has_failed=False))


def end(dashboards: Iterable[Dashboard], how: Callable[[Dashboard], None]) -> None:
    """End each of them; where that fails, one line says so: what the run has come to stands in its folder."""
    for dashboard in dashboards:
        try:
            how(dashboard)
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            print(f"a dashboard lacks the end of this run ({told}); metrics.csv has it", file=sys.stderr)
