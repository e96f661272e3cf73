"""How time and memory of log-probabilities grow with their sizes. `python -m tests.benchmarks.growth`

Draws the results of `python -m tests.benchmarks.log_probs --grid`, which draws them itself when it is through.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from tests.benchmarks.measure import Shape, medians, results_file

CENTRE = Shape(prompt=1024, completion=128, generations=8)
"""Each column leaves one of these free."""
COLUMNS = {"prompt": "prompt tokens", "completion": "tokens of a completion", "generations": "completions of a prompt"}
SIDES = {"released": ("#d55e00", "o"), "plain": ("#0072b2", "s"), "shared": ("#009e73", "D")}
"""Colour, told apart by colour-blind readers too, and marker."""

Row = Mapping[str, Any]
Points = list[tuple[int, float]]


def series(rows: Sequence[Row], free: str, side: str, what: str) -> Points:
    """(size, seconds or MiB) of one side where all sizes but the `free` one are the centre's."""
    points: Points = []
    for row in rows:
        shape = Shape.read(row["shape"])
        is_on_line = all(getattr(shape, name) == getattr(CENTRE, name) for name in COLUMNS if name != free)
        if is_on_line and side in row["sides"]:
            found = row["sides"][side]
            value = found["peak_mib"] if what == "MiB" else medians({"s": {side: found["seconds"]}})["s"][side]
            points.append((getattr(shape, free), value))
    return sorted(points)


def draw(rows: Sequence[Row], file: Path) -> Path:
    """Draw all sides into `file`: a row for time and one for memory, a column for each size; returns the file."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    panels = figure.subplots(2, len(COLUMNS), sharey="row")
    for line, what in zip(panels, ("s", "MiB"), strict=True):
        for panel, free in zip(line, COLUMNS, strict=True):
            _draw_panel(panel, rows, free, what)
        line[0].set_ylabel("median seconds" if what == "s" else "peak memory above the models, MiB")
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(SIDES), frameon=False
    )
    figure.suptitle(f"Log-probabilities of a group, policy and reference; where not varied: {_centre()}")
    figure.savefig(file, dpi=110)
    return file


def _draw_panel(panel: Axes, rows: Sequence[Row], free: str, what: str) -> None:
    ticks: set[int] = set()
    for side, (colour, marker) in SIDES.items():
        if points := series(rows, free, side, what):
            sizes, values = zip(*points, strict=True)
            panel.plot(sizes, values, color=colour, marker=marker, label=side)
            ticks |= set(sizes)
    panel.set(xscale="log", yscale="log", xlabel=COLUMNS[free])
    panel.set_xticks(sorted(ticks), labels=map(str, sorted(ticks)))
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()
    panel.grid(alpha=0.3)


def _centre() -> str:
    return f"prompt {CENTRE.prompt}, completion {CENTRE.completion}, {CENTRE.generations} completions"


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw a file of results beside it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="JSON file (default: this machine's grid)")
    file = parser.parse_args(arguments).file or results_file("log_probs_grid")
    print(draw(json.loads(file.read_text("utf-8"))["rows"], file.with_suffix(".png")))


if __name__ == "__main__":
    main()
