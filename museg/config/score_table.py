"""Scores on the terminal, readable at 80 columns."""

import re
from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from museg.metrics.evaluation_keys import describe

THRESHOLDS = ("0.1", "0.3", "0.5", "0.7")
"""IoU thresholds that have a column; scores at others stand in `metrics.json` and on the page."""
AT_THRESHOLD = re.compile(r"(?P<stem>.+)[@_](?P<threshold>0\.\d+)")
NUMBER_WIDTH = 7


def show_scores(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the contents of `metrics.json`: a table for each section, then what failed."""
    console = console or Console()
    console.print(f"{report['benchmark']}: {report['num_samples']} samples", style="bold")
    headline = {(entry["section"], entry["name"]) for entry in report["headline"]}
    for section, metrics in report["scores"].items():
        console.print(section_table(section, metrics, {name for place, name in headline if place == section}))
    failures = report["failures"]
    kinds = ", ".join(f"{kind} {num}" for kind, num in failures["kinds"].items()) or "none"
    counts = ", ".join(f"{kind.replace('_', ' ')} {num}" for kind, num in sorted(failures["counts"].items()))
    console.print(f"failed answers: {report['num_failed']} ({kinds})" + (f"; segments: {counts}" if counts else ""))
    for note in report["notes"]:
        console.print(f"note: {note}", style="bold")


def section_table(section: str, metrics: Mapping[str, Any], headline: set[str]) -> Table:
    """One section: a row for each metric, its values at the usual thresholds side by side."""
    rows = by_stem(metrics)
    used = [at for at in THRESHOLDS if any(at in cells for cells in rows.values())]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(section, overflow="fold", min_width=24)
    for heading in ("score", *(f"at {at}" for at in used)):
        table.add_column(heading, justify="right", no_wrap=True, min_width=NUMBER_WIDTH)
    for stem, cells in rows.items():
        is_percentage = describe(next(name for name in metrics if name.startswith(stem))).unit == "%"
        shown = (_number(cells[at], is_percentage) if at in cells else "" for at in ("", *used))
        style = "bold" if headline & {stem, *(f"{stem}@{at}" for at in used)} else None
        table.add_row(f"{stem}, %" if is_percentage else stem, *shown, style=style)
    return table


def by_stem(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Scores by name without threshold: threshold (empty where there is none) -> value; others than ours left out."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in metrics.items():
        match = AT_THRESHOLD.fullmatch(name)
        stem, threshold = match.group("stem", "threshold") if match else (name, "")
        if threshold in ("", *THRESHOLDS):
            found.setdefault(stem, {})[threshold] = value
    return found


def show_completions(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what scored completions come to."""
    table = Table("term", "mean", "std", "min", "max", title=f"{report['num_samples']} completions")
    for name, spread in [*report["terms"].items(), ("total", report["total"])]:
        table.add_row(name, *(_number(spread[key], False) for key in ("mean", "std", "min", "max")))
    console = console or Console()
    console.print(table)
    if report["num_not_text"]:
        console.print(f"{report['num_not_text']} completions are no text; they score as an empty one", style="bold")


def _number(value: Any, is_percentage: bool) -> str:
    """Four decimals, of a percentage two; a dash where a score is undefined."""
    return "–" if value is None else f"{value:.2f}" if is_percentage else f"{value:.4f}"
