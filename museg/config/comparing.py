"""Finished evaluations side by side: one table, one page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from museg.evaluation.bootstrap import Estimate
from museg.evaluation.comparison import ComparedMetric, Comparison, compare_runs, comparison_json
from museg.evaluation.finished import read_runs
from museg.evaluation.published import PublishedNumber, published
from museg.evaluation.run_folder import write_config
from museg.files import write_whole
from museg.metrics.evaluation_keys import describe
from museg.report.comparison_page import write_comparison_page

COMPARISON_FILE = "comparison.json"


def compare(settings: Mapping[str, Any], output: Path) -> None:
    """Compare the evaluations that `settings` names; write `comparison.json` and `report.html` to `output`."""
    runs = read_runs([Path(folder) for folder in settings["compare"]])
    benchmarks = dict.fromkeys(name for run in runs for name in run.evaluations)
    beside = published(settings["published"], benchmarks)
    comparison = compare_runs(runs, seed=settings["seed"])
    write_config(output, settings)
    write_whole(output / COMPARISON_FILE, json.dumps(comparison_json(comparison, beside), indent=1) + "\n")
    page = write_comparison_page(output)
    show_comparison(comparison, beside)
    print(f"report: {page.html}  every number: {output / COMPARISON_FILE}")


def show_comparison(
    comparison: Comparison, beside: Sequence[PublishedNumber] = (), console: Console | None = None
) -> None:
    """Print a block for each headline metric: every run with its 95 % interval and its difference to the first run."""
    console = console or Console()
    console.print(f"95 % intervals of {comparison.num_resamples:,} resamples, differences to the first run")
    for metric in comparison.metrics:
        if metric.is_headline:
            printed = [number for number in beside if _stands_beside(number, metric)]
            console.print(metric_table(metric, [run.name for run in comparison.runs], printed))


def metric_table(metric: ComparedMetric, names: Sequence[str], printed: Sequence[PublishedNumber]) -> Table:
    """One metric: a row for each run, then for each published number."""
    is_percentage = describe(metric.name).unit == "%"
    decimals = 2 if is_percentage else 3
    title = f"{metric.benchmark}: {metric.section} {metric.name}{', %' * is_percentage}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, title_style="bold")
    table.add_column("", overflow="fold", min_width=16)
    for heading in ("score", "95 %", "difference", "95 %", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, estimate, difference in zip(names, metric.estimates, (None, *metric.differences), strict=True):
        p_value = "" if difference is None else _shown_p(difference.p_value)
        table.add_row(name, *_cells(estimate, decimals), *_cells(difference, decimals, sign="+"), p_value)
    for number in printed:
        setting = ", other setting" if number.differs else ""
        table.add_row(f"{number.model} (published{setting})", f"{number.value:.{decimals}f}")
    return table


def _stands_beside(number: PublishedNumber, metric: ComparedMetric) -> bool:
    same = (number.benchmark, number.section, number.name) == (metric.benchmark, metric.section, metric.name)
    return same and not metric.group


def _shown_p(p_value: float) -> str:
    return "<.001" if p_value < 0.001 else f"{p_value:.3f}"


def _cells(estimate: Estimate | None, decimals: int, sign: str = "") -> tuple[str, str]:
    """A value and its interval; empty where there is none."""
    if estimate is None:
        return "", ""
    low, high = (None if end is None else f"{end:{sign}.{decimals}f}" for end in (estimate.low, estimate.high))
    return f"{estimate.value:{sign}.{decimals}f}", "" if low is None else f"{low}, {high}"
