"""The run log `metrics.csv` by column."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from museg.report.tolerant import Defects, number, read_csv, visible

COLD_START = "cold_start"
"""Kind of the rows that the supervised steps before step 0 leave in the run log, and usual name of that stage."""
INDEX_COLUMNS = ("step", "phase", "kind", "cold_start_step")


@dataclass(frozen=True)
class Metrics:
    """The run log by column. All arrays have one entry per row; NaN = not measured."""

    step: np.ndarray
    cold_start_step: np.ndarray
    phase: tuple[str, ...]
    kind: tuple[str, ...]
    columns: Mapping[str, np.ndarray]

    def series(self, key: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values (both float64, sorted by step) of one key in the rows of one kind.

        Steps are finished training steps, or supervised steps for the kind `cold_start`.
        """
        steps = self.cold_start_step if kind == COLD_START else self.step
        values = self.columns.get(key, np.full(len(steps), np.nan))
        wanted = np.array([row_kind == kind for row_kind in self.kind], dtype=bool)
        chosen = np.flatnonzero(wanted & ~np.isnan(values) & ~np.isnan(steps))
        order = np.argsort(steps[chosen], kind="stable")
        return steps[chosen][order], values[chosen][order]


def read_metrics(path: Path, defects: Defects) -> Metrics:
    """Read `metrics.csv`; rows and cells that cannot be used are counted in `defects`."""
    steps, cold_start_steps, columns = array("d"), array("d"), {}
    phases, kinds = [], []
    for row in read_csv(path, defects):
        steps.append(_cell(row.get("step", ""), path.name, defects))
        cold_start_steps.append(_cell(row.get("cold_start_step", ""), path.name, defects))
        phases.append(visible(row.get("phase", "")))
        kinds.append(row.get("kind", ""))
        for key, cell in row.items():
            if key not in INDEX_COLUMNS:
                columns.setdefault(visible(key), array("d")).append(_cell(cell, path.name, defects))
    return Metrics(
        step=np.array(steps, dtype=np.float64),
        cold_start_step=np.array(cold_start_steps, dtype=np.float64),
        phase=tuple(phases),
        kind=tuple(kinds),
        columns={key: np.array(values, dtype=np.float64) for key, values in columns.items()},
    )


def _cell(cell: str, file: str, defects: Defects) -> float:
    if not cell.strip():
        return np.nan
    try:
        value = float(cell)
    except ValueError:
        defects.add(file, "cell that is no number")
        return np.nan
    if number(value) is None:
        defects.add(file, "non-finite number")
        return np.nan
    return value
