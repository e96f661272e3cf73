"""Scores on the terminal."""

import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from museg.metrics.evaluation_keys import describe

THRESHOLDS = ("0.1", "0.3", "0.5", "0.7")
"""IoU thresholds that have a column; scores at others stand in `metrics.json` and on the page."""
AT_THRESHOLD = re.compile(r"(?P<stem>.+)[@_](?P<threshold>0\.\d+)")


def show_scores(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the contents of `metrics.json`: every score by section, then what failed."""
    console = console or Console()
    table = Table(title=f"{report['benchmark']}: {report['num_samples']} samples")
    table.add_column("")
    table.add_column("metric", no_wrap=True, overflow="fold")
    for heading in ("score", *(f"at {threshold}" for threshold in THRESHOLDS)):
        table.add_column(heading, justify="right")
    headline = {(entry["section"], entry["name"]) for entry in report["headline"]}
    for section, metrics in report["scores"].items():
        for place, (stem, cells) in enumerate(by_stem(metrics).items()):
            style = "bold" if (section, stem) in headline else None
            percent = describe(next(name for name in metrics if name.startswith(stem))).unit == "%"
            shown = (_number(cells[heading], percent) if heading in cells else "" for heading in ("", *THRESHOLDS))
            table.add_row("" if place else section, stem, *shown, style=style)
        table.add_section()
    console.print(table)
    failures = report["failures"]
    kinds = ", ".join(f"{kind} {num}" for kind, num in failures["kinds"].items()) or "none"
    counts = ", ".join(f"{kind.replace('_', ' ')} {num}" for kind, num in sorted(failures["counts"].items()))
    console.print(f"failed answers: {report['num_failed']} ({kinds})" + (f"; segments: {counts}" if counts else ""))
    for note in report["notes"]:
        console.print(f"note: {note}", style="bold")


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
        table.add_row(name, *(_number(spread[key]) for key in ("mean", "std", "min", "max")))
    console = console or Console()
    console.print(table)
    if report["num_not_text"]:
        console.print(f"{report['num_not_text']} completions are no text; they score as an empty one", style="bold")


def _number(value: Any, is_percentage: bool = False) -> str:
    """Four decimals, of a percentage two; a dash where a score is undefined."""
    return "–" if value is None else f"{value:.2f} %" if is_percentage else f"{value:.4f}"
