"""Completions scored by a reward mix: one line each, and what they come to."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from museg.evaluation.score import METRICS_FILE
from museg.evaluation.solutions import num_not_text, score_completions
from museg.files import write_whole
from museg.rewards.mix import RewardMix

SCORES_FILE = "scores.jsonl"


def write_completion_scores(file: Path, mix: RewardMix, off: Collection[str], folder: Path) -> dict[str, Any]:
    """Score every line of `file` with the terms that are not `off`; write `scores.jsonl` and `metrics.json`.

    Returns what the latter holds: mean, standard deviation and extremes of the total and of each term.
    """
    lines = list(score_completions(file, mix, off))
    write_whole(folder / SCORES_FILE, "".join(json.dumps(line) + "\n" for line in lines))
    terms = [name for name in mix.term_names if name not in off]
    report = {
        "mode": "completions",
        "num_samples": len(lines),
        "num_not_text": num_not_text(lines),
        "off": sorted(off),
        "total": spread([line["total"] for line in lines]),
        "terms": {name: spread([line["terms"][name] for line in lines]) for name in terms},
    }
    write_whole(folder / METRICS_FILE, json.dumps(report, indent=2) + "\n")
    return report


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, standard deviation (of the values as a whole) and extremes."""
    found = np.asarray(values, dtype=np.float64)
    return {name: getattr(found, name)().item() for name in ("mean", "std", "min", "max")}
