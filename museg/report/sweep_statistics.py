"""Means over seeds with their 95 % intervals, and differences paired by seed.

The interval is Student's: mean ± t(0.975, n - 1) · s / √n with the sample's standard deviation s. It takes the seeds as
independent draws of a normal distribution; with three of them t is 4.3, so that it is honestly wide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `num_seeds` values and the ends of its interval, None where there is but one value."""

    mean: float
    low: float | None
    high: float | None
    num_seeds: int

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of `values` and its interval; None of none."""
    if not values:
        return None
    number, mean = len(values), float(np.mean(values))
    if number == 1:
        return Estimate(mean, None, None, 1)
    reach = float(stdtrit(number - 1, 0.5 + CONFIDENCE / 2) * np.std(values, ddof=1) / sqrt(number))
    return Estimate(mean, mean - reach, mean + reach, number)


def paired_difference(values: Mapping[str, float], baseline: Mapping[str, float]) -> Estimate | None:
    """The mean of `values` minus `baseline` over the seeds (the keys) that both have; None where they share none."""
    return estimate([values[seed] - baseline[seed] for seed in values if seed in baseline])
