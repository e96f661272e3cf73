"""What E.T. Bench reports over its tasks, from the scores of every (task, source).

Values are floats or arrays [R] of resampled scores. Tasks are found by name: a group with a missing task or score has
no value, where the published script would take another task in its stead.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from museg.metrics.et_bench_table import five_decimals

Scores = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""task -> source -> metric name -> value."""

TASK_SCORES = {
    "RAR (Acc)": ("rar", "Acc"),
    "EVC (Acc)": ("eca", "Acc"),
    "RVQ (Acc)": ("rvq", "Acc"),
    "TVG (F1)": ("tvg", "F1"),
    "EPM (F1)": ("epm", "F1"),
    "TAL (F1)": ("tal", "F1"),
    "EVS (F1)": ("evs", "F1"),
    "VHD (F1)": ("vhd", "F1"),
    "DVC (F1)": ("dvc", "F1"),
    "DVC (Sim)": ("dvc", "SentSim"),
    "SLC (F1)": ("slc", "F1"),
    "SLC (Sim)": ("slc", "SentSim"),
    "TEM (Rec)": ("tem", "mRec"),
    "GVQ (Rec)": ("gvq", "mRec"),
}
"""Column of the published table -> the task and the metric that it shows. EVC is the task eca."""
MERGED = {
    "Acc (ref)": ("RAR (Acc)", "EVC (Acc)", "RVQ (Acc)"),
    "F1 (gnd)": ("TVG (F1)", "EPM (F1)", "TAL (F1)", "EVS (F1)", "VHD (F1)"),
    "F1 (cap)": ("DVC (F1)", "SLC (F1)"),
    "Sim (cap)": ("DVC (Sim)", "SLC (Sim)"),
    "Rec (com)": ("TEM (Rec)", "GVQ (Rec)"),
}
"""Column of the published merged table -> the task columns that it averages."""
MEANS = {
    "Mean Acc": (("rar", "eca", "rvq"), "Acc"),
    "Mean F1 (gnd)": (("tvg", "epm", "tal", "evs", "vhd"), "F1"),
    "Mean F1 (cap)": (("dvc", "slc"), "F1"),
    "Mean SentSim": (("dvc", "slc"), "SentSim"),
    "TEM Mean Rec": (("tem",), "mRec"),
    "GVQ Mean Rec": (("gvq",), "mRec"),
}
"""Line below a published table -> tasks and metric. The script prints `Mean F1` twice; its group is added here."""


def per_task(per_source: Scores) -> dict[str, Any]:
    """Column -> plain mean over the sources of its task, five decimals; None where a source does not have the score.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, "Overall".
    """
    return {column: _mean(_over_sources(per_source, [task], name)) for column, (task, name) in TASK_SCORES.items()}


def merged(task_scores: Mapping[str, Any]) -> dict[str, Any]:
    """Group -> plain mean of its task columns in %, unrounded; None where one is missing.

    Source: THUNLP-MT/MUSEG 889565e, data/eval/et_bench/compute_metrics.py, "Merged".
    """
    found = {}
    for group, columns in MERGED.items():
        values = [task_scores.get(column) for column in columns]
        found[group] = None if any(value is None for value in values) else sum(values) * 100 / len(values)
    return found


def means(per_source: Scores) -> dict[str, Any]:
    """Line -> mean over every (task, source) of its tasks, not over tasks, five decimals; None where one is missing."""
    return {line: _mean(_over_sources(per_source, tasks, name)) for line, (tasks, name) in MEANS.items()}


def _over_sources(per_source: Scores, tasks: Sequence[str], name: str) -> list[Any]:
    """The scores of all sources of all `tasks`, None for one that is missing."""
    return [scores.get(name) for task in tasks for scores in per_source.get(task, {"": {}}).values()]


def _mean(values: Sequence[Any]) -> Any:
    return None if any(value is None for value in values) else five_decimals(sum(values) / len(values))
