"""One score of every member of a sweep, as its report tells it and as the members do."""

import csv
import json
from pathlib import Path

MODE, SCORE = "sampled", "mean_iou"


def reported(folder: Path, *settings: str) -> dict[tuple[str, ...], float]:
    """What `sweep.csv` says of every configuration: its values of `settings` -> the mean over its seeds."""
    with (folder / "sweep.csv").open(newline="") as opened:
        rows = [row for row in csv.DictReader(opened) if (row["mode"], row["score"]) == (MODE, SCORE)]
    return {tuple(row[name] for name in settings): float(row["mean"]) for row in rows}


def summarised(run_dir: Path) -> float:
    """What a run itself measured in the end."""
    summary = json.loads((run_dir / "summary.json").read_text())
    return summary["held_out"]["plain"][MODE][SCORE]
