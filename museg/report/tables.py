"""The before/after table: held-out scores of every stage, one table for each decoding mode."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from museg.metrics.keys import HELD_OUT_SCORES, MODES, describe, held_out_key
from museg.report.facts import signed, stage_title
from museg.report.run_folder import RunRecord
from museg.report.tolerant import clip, mapping, number

HIGHER_IS_BETTER = re.compile(
    r"mean_iou|f1@.*|recall@.*|well_formed_share|timestamps_cited_share|count_accuracy|\w*reward\w*"
)
PREDICTED_COUNT, TRUE_COUNT = "num_predicted_segments", "num_true_segments"

Scores = Mapping[str, Mapping[str, float]]
"""stage -> score name -> value, in the order of the run."""


@dataclass(frozen=True)
class Column:
    """A score: heading, unit and meaning."""

    name: str
    group: str
    """What several columns share, as `F1 at IoU` for the columns 0.1, 0.3 and so on; empty for a column of its own."""
    label: str
    meaning: str


@dataclass(frozen=True)
class Cell:
    """A formatted value, its difference to the first stage (empty in the first row), and whether it is the best."""

    text: str
    change: str
    is_best: bool


@dataclass(frozen=True)
class StageTable:
    """Held-out scores under one decoding mode: rows are (stage, cells), cells in the order of `columns`."""

    mode: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]

    @property
    def groups(self) -> list[tuple[str, list[Column]]]:
        """Neighbouring columns with the same group under its name; every other column alone under an empty name."""
        found: list[tuple[str, list[Column]]] = []
        for column in self.columns:
            if column.group and found and found[-1][0] == column.group:
                found[-1][1].append(column)
            else:
                found.append((column.group, [column]))
        return found


def stage_tables(run: RunRecord) -> tuple[list[StageTable], str]:
    """A table for each decoding mode with scores, and the file the numbers come from."""
    from_summary = run.held_out
    source = "summary.json" if from_summary else "the last validation of each stage in metrics.csv"
    tables = []
    for mode in MODES:
        scores = _numbers(from_summary, mode) if from_summary else _last_validations(run, mode)
        if scores:
            tables.append(_table(mode, scores))
    return tables, source


def _numbers(held_out: Mapping[str, Any], mode: str) -> Scores:
    found = {}
    for stage, modes in held_out.items():
        values = {name: number(value) for name, value in mapping(mapping(modes).get(mode)).items()}
        finite = {name: value for name, value in values.items() if value is not None}
        if finite:
            found[stage] = finite
    return found


def _last_validations(run: RunRecord, mode: str) -> Scores:
    metrics, found = run.metrics, {}
    prefix = held_out_key(mode, "")
    columns = {key.removeprefix(prefix): values for key, values in metrics.columns.items() if key.startswith(prefix)}
    for row, (phase, kind) in enumerate(zip(metrics.phase, metrics.kind, strict=True)):
        values = {name: float(column[row]) for name, column in columns.items() if not np.isnan(column[row])}
        if kind == "validation" and values:
            found[phase] = values
    return found


def _table(mode: str, scores: Scores) -> StageTable:
    present = {name for values in scores.values() for name in values}
    names = [name for name in HELD_OUT_SCORES if name in present] + sorted(present - set(HELD_OUT_SCORES))
    columns = {name: [values.get(name) for values in scores.values()] for name in names}
    true_counts = columns.get(TRUE_COUNT, [None] * len(scores))
    cells = [_cells(values, best_rows(name, values, true_counts)) for name, values in columns.items()]
    rows = tuple((stage_title(stage), tuple(column[row] for column in cells)) for row, stage in enumerate(scores))
    return StageTable(mode, tuple(score_column(name, mode) for name in names), rows)


def score_column(name: str, mode: str) -> Column:
    """How a held-out score is headed; those measured at several thresholds share a group."""
    key = HELD_OUT_SCORES.get(name) or describe(held_out_key(mode, name))
    group, at, threshold = key.label.partition("@")
    if at:
        return Column(name, clip(f"{group} at IoU", 40), clip(threshold, 20), f"{key.meaning} ({name})")
    return Column(name, "", clip(key.label, 40), f"{key.meaning} ({name})")


def best_rows(name: str, values: Sequence[float | None], true_counts: Sequence[float | None]) -> set[int]:
    """Rows with the best value of a score: the highest, or the count nearest the true one; none when all are equal."""
    if name == PREDICTED_COUNT:
        merits = [None if v is None or t is None else -abs(v - t) for v, t in zip(values, true_counts, strict=True)]
    elif HIGHER_IS_BETTER.fullmatch(name):
        merits = list(values)
    else:
        return set()
    decimals = shown_decimals([value for value in values if value is not None])
    rounded = [None if merit is None else round(merit, decimals) for merit in merits]
    known = [merit for merit in rounded if merit is not None]
    if len(set(known)) < 2:
        return set()
    return {row for row, merit in enumerate(rounded) if merit == max(known)}


def _cells(values: Sequence[float | None], best: set[int]) -> list[Cell]:
    known = [value for value in values if value is not None]
    decimals = shown_decimals(known)
    cells = []
    for row, value in enumerate(values):
        if value is None:
            cells.append(Cell("–", "", False))
            continue
        has_change = row > 0 and values[0] is not None
        change = signed(value - values[0], decimals) if has_change else ""
        cells.append(Cell(f"{value:.{decimals}f}", change, row in best))
    return cells


def shown_decimals(values: Sequence[float]) -> int:
    """Decimals that suit a column: three for shares, fewer for larger numbers."""
    largest = max(map(abs, values))
    return 3 if largest <= 1 else 2 if largest < 10 else 1
