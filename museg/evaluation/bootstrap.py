"""The paired bootstrap: what the metrics of several runs would be on other samples of the same kind.

Shapes: R resamples, n samples of a group. A resample draws as many samples as the group has, with replacement, and all
runs see the same draws. Samples of one video are drawn independently of each other, so intervals are somewhat too
narrow where many questions share few videos.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from museg.metrics.sample_table import SampleTable, column_means

CHUNK_VALUES = 4_000_000
"""Counts of samples held at once (times 8 bytes): bounds the memory of a resample of a large benchmark."""
INTERVAL = (2.5, 97.5)
"""Percentiles that enclose the 95 % interval."""


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % percentile interval (None where it is undefined)."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Difference(Estimate):
    """How much more than the first run, and the two-sided p-value of there being no difference."""

    p_value: float


def resample_group(
    runs: Sequence[Mapping[str, SampleTable]], num_resamples: int, rng: np.random.Generator
) -> list[dict[str, dict[str, np.ndarray]]]:
    """For each run: section -> metric name -> values [R] under the same draws of the group's samples.

    The samples of the group are all positions that any table of any run holds.
    """
    held = [{section: table.table() for section, table in sections.items()} for sections in runs]
    positions = [places for tables in held for places, _ in tables.values()]
    universe = np.unique(np.concatenate(positions)) if positions else np.zeros(0, dtype=np.int64)
    means = [{section: [] for section, (places, _) in tables.items() if len(places)} for tables in held]
    for counts in draw_counts(len(universe), num_resamples, rng):
        for place, tables in enumerate(held):
            for section, parts in means[place].items():
                places, rows = tables[section]
                parts.append(column_means(rows, counts[:, np.searchsorted(universe, places)]))
    return [
        {section: _summary(runs[place][section], np.concatenate(parts)) for section, parts in sections.items()}
        for place, sections in enumerate(means)
    ]


def draw_counts(num_samples: int, num_resamples: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """How often each sample is drawn in each resample, float64 [R of this chunk, n]; rows add up to n."""
    if not num_samples:
        return
    for start in range(0, num_resamples, max(1, CHUNK_VALUES // num_samples)):
        size = min(max(1, CHUNK_VALUES // num_samples), num_resamples - start)
        drawn = rng.integers(0, num_samples, size=(size, num_samples))
        drawn += np.arange(size)[:, None] * num_samples
        yield np.bincount(drawn.ravel(), minlength=size * num_samples).reshape(size, num_samples).astype(np.float64)


def _summary(table: SampleTable, means: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return table.summarise({name: means[:, index] for index, name in enumerate(table.columns)})


def with_interval(value: float, drawn: np.ndarray) -> Estimate:
    """A value with the interval that its resamples [R] give."""
    return Estimate(value, *_interval(value, drawn))


def paired_difference(value: float, drawn: np.ndarray) -> Difference:
    """A difference with the interval and p-value that its resamples [R] give."""
    return Difference(value, *_interval(value, drawn), p_value=two_sided_p(drawn))


def _interval(value: float, drawn: np.ndarray) -> tuple[float | None, float | None]:
    """The 95 % percentile interval over the resamples in which the metric is defined."""
    defined = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or not len(defined):
        return None, None
    low, high = np.percentile(defined, INTERVAL)
    return float(low), float(high)


def two_sided_p(drawn: np.ndarray) -> float:
    """Bootstrap p-value of no difference: twice the smaller share of resampled differences on one side of zero.

    A difference of exactly zero counts for both sides, and one is added to counts and total so that no finite number
    of resamples gives 0; undefined differences are left out. NaN when none is defined.

    Source: Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.2 (the added one).
    """
    defined = drawn[np.isfinite(drawn)]
    if not len(defined):
        return float("nan")
    fewer = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(defined) + 1))
