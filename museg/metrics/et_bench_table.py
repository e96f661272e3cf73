"""What the metric tables of E.T. Bench have in common: counted failures and five decimals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from museg.metrics.sample_table import SampleTable

FAILED = "failed"
"""Column: 1 for what the published script counts as `Failed`, and for what it stops at."""
RAISES = "official_raises"
"""Column: 1 where the published script stops with an exception on the answer."""


class EtBenchTable(SampleTable):
    """A table that also reports `Total` and `Failed`, the numbers of samples and of failed answers."""

    def __init__(self, columns: tuple[str, ...], **options: Any) -> None:
        super().__init__((*columns, FAILED, RAISES), **options)

    def add_failure(self, position: int, raises: bool, values: Mapping[str, float] | None = None) -> None:
        """A sample whose answer failed: 0 in every column but those of `values`."""
        row = dict.fromkeys(self.columns, 0.0) | dict(values or {})
        self.add(position, row | {FAILED: 1.0, RAISES: float(raises)})

    def add_scores(self, position: int, values: Mapping[str, float]) -> None:
        """A sample whose answer did not fail."""
        self.add(position, {**values, FAILED: 0.0, RAISES: 0.0})

    def compute(self) -> dict[str, float]:
        """`Total`, `Failed` and what the table summarises; empty without samples."""
        scores = super().compute()
        if not scores:
            return {}
        _, rows = self.table()
        return {"Total": float(len(rows)), "Failed": float(rows[:, self.columns.index(FAILED)].sum()), **scores}


def five_decimals(value: Any) -> Any:
    """A number rounded as the script rounds it, or an array element by element.

    numpy multiplies before it rounds and may differ from Python in the last decimal, so single numbers take Python.
    """
    return round(float(value), 5) if np.ndim(value) == 0 else np.round(value, 5)
