"""One row of numbers per answered sample, kept until the end: means, ties and bootstraps all start from it.

Shapes: n samples; k columns; R resamples of a bootstrap (or nothing, for the plain means).
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

NOT_COUNTED = math.nan
"""Value of a sample that a mean leaves out (its denominator shrinks)."""
SPOILED = math.inf
"""Value that turns the whole mean into NaN: what the official scripts do with an undefined IoU."""

Means = Mapping[str, Any]
"""Column name -> mean, a float or an array [R]."""


class SampleTable(Metric):
    """A torchmetrics metric that stores a float64 row per sample and summarises column means.

    Subclasses give `columns` to the constructor, fill rows by calling `add` from their `update`, and turn column means
    into the metrics they report in `summarise`. `position` is the sample's place in the benchmark: rows are put in that
    order, and of several rows for one position (padding of a distributed sampler) one counts. So the result does not
    depend on batches, on the order of updates or on the number of processes.
    """

    full_state_update = False

    def __init__(self, columns: tuple[str, ...], **options: Any) -> None:
        super().__init__(**options)
        self.columns = tuple(columns)
        self.add_state("positions", [], dist_reduce_fx="cat")
        self.add_state("rows", [], dist_reduce_fx="cat")

    def add(self, position: int, values: Mapping[str, float]) -> None:
        """Store one sample's values; `values` must name exactly the columns."""
        if set(values) != set(self.columns):
            raise ValueError(f"a row must have the columns {list(self.columns)}, got {sorted(values)}")
        device = self.device
        self.positions.append(torch.tensor([position], dtype=torch.int64, device=device))
        row = [[float(values[name]) for name in self.columns]]
        self.rows.append(torch.tensor(row, dtype=torch.float64, device=device))

    def update(self, position: int, values: Mapping[str, float]) -> None:
        """Store a row worked out elsewhere; subclasses take an answer and its truth instead."""
        self.add(position, values)

    def restore(self, positions: np.ndarray, rows: np.ndarray) -> None:
        """Take over positions [n] and rows [n, k] that were stored before, in the place of updates."""
        self.positions = [torch.as_tensor(positions, dtype=torch.int64, device=self.device)]
        self.rows = [torch.as_tensor(rows, dtype=torch.float64, device=self.device)]
        self._update_count += 1  # or torchmetrics warns that nothing was added

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """As every metric; a process without samples takes part with no rows, in the shape and type of the others'."""
        if not len(self.positions):
            self.positions.append(torch.zeros(0, dtype=torch.int64, device=self.device))
            self.rows.append(torch.zeros((0, len(self.columns)), dtype=torch.float64, device=self.device))
        super().sync(*args, **kwargs)

    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """The positions and rows that means are taken of: those stored, unless a subclass looks across samples."""
        return self.stored()

    def stored(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions [n] in ascending order, each once, and their rows [n, k], as `add` was given them."""
        if not len(self.positions):
            return np.zeros(0, dtype=np.int64), np.zeros((0, len(self.columns)))
        positions = dim_zero_cat(self.positions).cpu().numpy()
        rows = dim_zero_cat(self.rows).cpu().numpy()
        unique, first = np.unique(positions, return_index=True)
        return unique, rows[first]

    def compute(self) -> dict[str, float]:
        """Metric name -> value over all samples; empty without samples."""
        _, rows = self.table()
        if not len(rows):
            return {}
        means = column_means(rows)
        summary = self.summarise({name: means[index] for index, name in enumerate(self.columns)})
        return {name: float(value) for name, value in summary.items()}

    def summarise(self, means: Means) -> dict[str, Any]:
        """Reported metrics from column means. Must work on floats and, element by element, on arrays [R]."""
        return dict(means)


def column_means(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Means of the columns of `rows` [n, k], as [k]; with `weights` [R, n] (uses of each sample in a resample), [R, k].

    NOT_COUNTED values are left out; a SPOILED value that is held makes its mean NaN; a column in which nothing counts
    has mean NaN.
    """
    counts = np.ones((1, len(rows))) if weights is None else np.asarray(weights, dtype=np.float64)
    is_finite = np.isfinite(rows)
    sums = counts @ np.where(is_finite, rows, 0.0)
    denominators = counts @ is_finite.astype(np.float64)
    spoiled = counts @ np.isinf(rows).astype(np.float64) > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(spoiled | (denominators == 0), np.nan, sums / denominators)
    return means[0] if weights is None else means
