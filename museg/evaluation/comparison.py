"""Are two runs different, or were they lucky? Every metric they report, with intervals and paired differences.

A resample draws within each group of a benchmark (its task and source); all runs and all metrics see the same draws.
Shapes: R resamples.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from museg.evaluation.bootstrap import Difference, Estimate, paired_difference, resample_group, with_interval
from museg.evaluation.published import PublishedNumber
from museg.metrics.sample_table import SampleTable

NUM_RESAMPLES = 10_000

Tables = Mapping[str, Mapping[str, SampleTable]]
"""group -> section (official, corrected, field) -> table of per-sample numbers."""
Summaries = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""group -> section -> metric name -> a float, or an array [R]."""
Overall = Callable[[Summaries], Mapping[str, Mapping[str, Any]]]
"""From the groups' metrics to those of the whole benchmark, by section and name; works on floats and on arrays [R]."""


@dataclass(frozen=True)
class Evaluation:
    """One run's scored answers to one benchmark."""

    sample_ids: Sequence[str]
    """Ids of the benchmark's samples; a table's `position` is a place in this list."""
    tables: Tables
    overall: Overall
    headline: Sequence[tuple[str, str]] = ()
    """(section, name) of the metrics to be seen first."""
    asked: str = ""
    """A digest of what was asked, so that equal ids of different questions are told apart."""
    folder: Path | None = None
    """Where the evaluation lies, for pages that show its samples."""


@dataclass(frozen=True)
class ComparedRun:
    """A run under the name it has in the comparison, with its evaluations by benchmark."""

    name: str
    evaluations: Mapping[str, Evaluation]


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of one benchmark (of one of its groups, or of all: an empty `group`) in all runs.

    `estimates` has an entry for each run, `differences` one for each run after the first: None where a run lacks it.
    """

    benchmark: str
    group: str
    section: str
    name: str
    is_headline: bool
    estimates: tuple[Estimate | None, ...]
    differences: tuple[Difference | None, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything that was compared, in the order of the first run that has it."""

    runs: tuple[ComparedRun, ...] = field(repr=False)
    num_resamples: int
    seed: int
    num_samples: Mapping[str, int]
    """benchmark -> samples."""
    metrics: tuple[ComparedMetric, ...] = field(repr=False)


def compare_runs(runs: Sequence[ComparedRun], num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Comparison:
    """Every metric of every run with its interval, and the paired differences to the first run.

    Benchmarks are matched by name; one that only some runs have is compared among those.

    Raises:
        ValueError: fewer than two runs, two of one name, no benchmark in common, or other samples in one than in
            another.
    """
    _check(runs)
    metrics: list[ComparedMetric] = []
    sizes: dict[str, int] = {}
    for benchmark in dict.fromkeys(name for run in runs for name in run.evaluations):
        evaluations = [run.evaluations.get(benchmark) for run in runs]
        sizes[benchmark] = len(next(e for e in evaluations if e is not None).sample_ids)
        metrics += _compare(benchmark, evaluations, num_resamples, seed)
    return Comparison(tuple(runs), num_resamples, seed, sizes, tuple(metrics))


def _check(runs: Sequence[ComparedRun]) -> None:
    names = [run.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise ValueError(f"a comparison needs two or more runs of different names, got {names}")
    shared = set.intersection(*(set(run.evaluations) for run in runs))
    if not shared:
        found = "; ".join(f"{run.name}: {', '.join(run.evaluations) or 'none'}" for run in runs)
        raise ValueError(f"the runs have no benchmark in common ({found}); evaluate them on the same one")
    for benchmark in dict.fromkeys(name for run in runs for name in run.evaluations):
        having = [run for run in runs if benchmark in run.evaluations]
        for run in having[1:]:
            _check_samples(benchmark, having[0], run)


def _check_samples(benchmark: str, first: ComparedRun, other: ComparedRun) -> None:
    a, b = (list(run.evaluations[benchmark].sample_ids) for run in (first, other))
    if a == b and first.evaluations[benchmark].asked == other.evaluations[benchmark].asked:
        return
    if a == b:
        raise ValueError(
            f"{benchmark}: {first.name} and {other.name} have the same ids but other questions, videos or truths: they "
            "were evaluated with different annotation files. Evaluate one of them again with the file of the other"
        )
    only_a, only_b = len(set(a) - set(b)), len(set(b) - set(a))
    raise ValueError(
        f"{benchmark}: {first.name} has {len(a)} samples and {other.name} {len(b)}; {only_a} are only in the first, "
        f"{only_b} only in the second{'' if only_a or only_b else ', and their order differs'}. Paired differences "
        "need the same annotation file for both: evaluate one of them again"
    )


def _compare(
    benchmark: str, evaluations: Sequence[Evaluation | None], num_resamples: int, seed: int
) -> Iterator[ComparedMetric]:
    present = [evaluation for evaluation in evaluations if evaluation is not None]
    draws = _all_resamples(benchmark, present, num_resamples, seed)
    points_and_draws = zip(map(_point_values, present), draws, strict=True)
    flat = iter([(_only(points, drawn), drawn) for points, drawn in points_and_draws])
    values = [next(flat) if evaluation is not None else ({}, {}) for evaluation in evaluations]
    headline = {key for evaluation in present for key in evaluation.headline}
    for key in dict.fromkeys(key for points, _ in values for key in points):
        group, section, name = key
        estimates = tuple(with_interval(points[key], drawn[key]) if key in points else None for points, drawn in values)
        (first, first_drawn), *others = values
        differences = tuple(
            paired_difference(points[key] - first[key], drawn[key] - first_drawn[key])
            if key in points and key in first
            else None
            for points, drawn in others
        )
        is_headline = not group and (section, name) in headline
        yield ComparedMetric(benchmark, group, section, name, is_headline, estimates, differences)


def _only(points: dict, drawn: dict) -> dict:
    """The points that resamples have too: numbers of samples (`Total`, `Failed`) are no scores."""
    return {key: value for key, value in points.items() if key in drawn}


def _point_values(evaluation: Evaluation) -> dict[tuple[str, str, str], float]:
    groups = {
        group: {section: table.compute() for section, table in sections.items()}
        for group, sections in evaluation.tables.items()
    }
    return {key: float(value) for key, value in _flattened(evaluation, groups).items()}


def _all_resamples(
    benchmark: str, evaluations: Sequence[Evaluation], num_resamples: int, seed: int
) -> list[dict[tuple[str, str, str], np.ndarray]]:
    """For each evaluation: (group, section, name) -> values [R], from draws that all of them share."""
    groups: list[dict[str, dict[str, dict[str, np.ndarray]]]] = [{} for _ in evaluations]
    for group in dict.fromkeys(group for evaluation in evaluations for group in evaluation.tables):
        found = [dict(evaluation.tables.get(group, {})) for evaluation in evaluations]
        rng = np.random.default_rng([seed, zlib.crc32(f"{benchmark}\0{group}".encode())])
        for place, summaries in enumerate(resample_group(found, num_resamples, rng)):
            groups[place][group] = summaries
    return [
        {key: np.broadcast_to(np.asarray(value, dtype=np.float64), num_resamples) for key, value in flat.items()}
        for flat in map(_flattened, evaluations, groups)
    ]


def _flattened(evaluation: Evaluation, groups: Summaries) -> dict[tuple[str, str, str], Any]:
    """Metrics by (group, section, name), the whole benchmark's first, under an empty group."""
    of_all = {
        ("", section, name): value
        for section, metrics in evaluation.overall(groups).items()
        for name, value in metrics.items()
    }
    if len(groups) < 2:  # one group is the whole benchmark
        return of_all
    return of_all | {
        (group, section, name): value
        for group, sections in groups.items()
        for section, metrics in sections.items()
        for name, value in metrics.items()
    }


def comparison_json(comparison: Comparison, published: Sequence[PublishedNumber] = ()) -> dict[str, Any]:
    """The content of `comparison.json`: everything of the comparison that is no table, NaN as null.

    `published` holds the numbers of other people's models to be shown beside.
    """
    return {
        "runs": [
            {"name": run.name, "folders": {name: str(e.folder) for name, e in run.evaluations.items() if e.folder}}
            for run in comparison.runs
        ],
        "num_resamples": comparison.num_resamples,
        "seed": comparison.seed,
        "num_samples": dict(comparison.num_samples),
        "metrics": [
            {
                "benchmark": metric.benchmark,
                "group": metric.group,
                "section": metric.section,
                "name": metric.name,
                "is_headline": metric.is_headline,
                "estimates": [_plain(estimate) for estimate in metric.estimates],
                "differences": [_plain(difference) for difference in metric.differences],
            }
            for metric in comparison.metrics
        ],
        "published": [asdict(number) for number in published],
    }


def _plain(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    return {name: value if value is None or isfinite(value) else None for name, value in asdict(estimate).items()}
