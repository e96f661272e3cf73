"""Finished evaluations side by side: one table, one page."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from museg.evaluation.bootstrap import Difference, Estimate
from museg.evaluation.comparison import Comparison, compare_runs, comparison_json
from museg.evaluation.finished import read_runs
from museg.evaluation.published import published
from museg.evaluation.run_folder import write_config
from museg.files import write_whole
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
    show_comparison(comparison)
    print(f"report: {page.html}  every number: {output / COMPARISON_FILE}")


def show_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the headline metrics with their 95 % intervals, and the differences to the first run."""
    first, *others = (run.name for run in comparison.runs)
    table = Table(title=f"95 % intervals of {comparison.num_resamples:,} resamples")
    for heading in ("benchmark", "metric", first):
        table.add_column(heading)
    for name in others:
        table.add_column(name)
        table.add_column(f"difference to {first}")
    for metric in comparison.metrics:
        if metric.is_headline:
            cells = [_cell(metric.estimates[0])]
            for estimate, difference in zip(metric.estimates[1:], metric.differences, strict=True):
                cells += [_cell(estimate), _difference(difference)]
            table.add_row(metric.benchmark, f"{metric.section} {metric.name}", *cells)
    (console or Console()).print(table)


def _cell(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    interval = "" if estimate.low is None else f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return f"{estimate.value:.4f}{interval}"


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "–"
    interval = "" if difference.low is None else f" [{difference.low:+.3f}, {difference.high:+.3f}]"
    return f"{difference.value:+.4f}{interval}  p = {difference.p_value:.3g}"
