"""A sweep as tables: configurations against headline scores, every score against configurations, and CSV files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from museg.files import write_whole
from museg.metrics.keys import MODES
from museg.report.facts import signed
from museg.report.sweep_folder import SweepRecord
from museg.report.sweep_results import (
    Configuration,
    ScoreKey,
    result,
    score_keys,
    stage_scores,
    start_estimate,
)
from museg.report.sweep_statistics import Estimate
from museg.report.tables import Column, score_column, shown_decimals
from museg.report.tolerant import mapping

HEADLINE_SCORES = ("mean_iou", "recall@0.3", "recall@0.5", "recall@0.7")
START = "at the start"
RESULTS_FILE, MEMBERS_FILE = "sweep.csv", "sweep_members.csv"


@dataclass(frozen=True)
class SweepCell:
    """A mean and its interval, the difference to the baseline and its interval, and whether that leaves zero out."""

    text: str = "–"
    interval: str = ""
    difference: str = ""
    difference_interval: str = ""
    is_clear: bool = False


@dataclass(frozen=True)
class SweepRow:
    """One configuration, or the start of all: its label, how many seeds count, and a cell for each column."""

    label: str
    seeds: str
    cells: tuple[SweepCell, ...]


@dataclass(frozen=True)
class ScoreRow:
    """One score: what it is, and a cell for each configuration."""

    column: Column
    cells: tuple[SweepCell, ...]


def headline_columns(found: Sequence[Configuration]) -> list[tuple[str, list[tuple[ScoreKey, Column]]]]:
    """The headline scores that were measured, by decoding mode."""
    present = set(score_keys(found))
    groups = [(mode, [(mode, name) for name in HEADLINE_SCORES if (mode, name) in present]) for mode in MODES]
    return [(mode, [(key, score_column(key[1], mode)) for key in keys]) for mode, keys in groups if keys]


def headline_rows(found: Sequence[Configuration], baseline: Configuration | None) -> list[SweepRow]:
    """A row for each configuration, below one for where those of the same seeds started."""
    keys = [key for _, columns in headline_columns(found) for key, _ in columns]
    start = [start_estimate(found, key) for key in keys]
    rows = []
    if any(start):
        seeds = max(known.num_seeds for known in start if known)
        rows.append(SweepRow(START, str(seeds), tuple(_cell(known, None) for known in start)))
    for configuration in found:
        cells = tuple(_result_cell(configuration, key, baseline) for key in keys)
        planned = len({member.seed for member in configuration.members})
        seeds = f"{configuration.num_finished}" + (f" of {planned}" if configuration.num_finished < planned else "")
        rows.append(SweepRow(configuration.label, seeds, cells))
    return rows


def score_rows(
    found: Sequence[Configuration], baseline: Configuration | None
) -> list[tuple[str, tuple[ScoreRow, ...]]]:
    """Every score by decoding mode, one row each."""
    keys = score_keys(found)
    rows = {key: ScoreRow(score_column(key[1], key[0]), _cells_of(found, key, baseline)) for key in keys}
    by_mode = [(mode, tuple(rows[key] for key in keys if key[0] == mode)) for mode in MODES]
    return [(mode, of_mode) for mode, of_mode in by_mode if of_mode]


def _cells_of(found: Sequence[Configuration], key: ScoreKey, baseline: Configuration | None) -> tuple[SweepCell, ...]:
    return tuple(_result_cell(configuration, key, baseline) for configuration in found)


def _result_cell(configuration: Configuration, key: ScoreKey, baseline: Configuration | None) -> SweepCell:
    found = result(configuration, key, baseline)
    return _cell(found.estimate, found.difference) if found else SweepCell()


def _cell(value: Estimate | None, difference: Estimate | None) -> SweepCell:
    if value is None:
        return SweepCell()
    decimals = shown_decimals([value.mean])
    interval = "" if value.low is None else f"{value.low:.{decimals}f} to {value.high:.{decimals}f}".replace("-", "−")
    text = f"{value.mean:.{decimals}f}"
    if difference is None:
        return SweepCell(text, interval)
    between = ""
    if difference.low is not None and difference.high is not None:
        between = f"{signed(difference.low, decimals)} to {signed(difference.high, decimals)}"
    return SweepCell(text, interval, signed(difference.mean, decimals), between, difference.is_clear)


def markdown_table(found: Sequence[Configuration], baseline: Configuration | None) -> str:
    """Mean IoU of every decoding mode that was measured as a Markdown table: mean, interval, paired difference, its
    interval.
    """
    modes = [mode for mode, _ in headline_columns(found)] or MODES
    names = [f"{mode} mIoU{what}" for mode in modes for what in ("", ", difference")]
    lines = [["configuration", "n", *names]]
    lines.append(["---"] * len(lines[0]))
    for configuration in found:
        cells = [_result_cell(configuration, (mode, "mean_iou"), baseline) for mode in modes]
        told = [text for cell in cells for text in (_with(cell.text, cell.interval), _difference_text(cell))]
        lines.append([configuration.label.replace("|", "\\|"), str(configuration.num_finished), *told])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _difference_text(cell: SweepCell) -> str:
    return _with(cell.difference, cell.difference_interval) if cell.difference else "–"


def _with(text: str, interval: str) -> str:
    return f"{text} ({interval})" if interval else text


def write_results(folder: Path, found: Sequence[Configuration], baseline: Configuration | None) -> Path:
    """Write `sweep.csv`: a row for each configuration and score, with every number of the page unrounded."""
    names = list(found[0].settings) if found else []
    header = ["configuration", *names, "mode", "score", "num_seeds", "mean", "low", "high"]
    header += ["baseline", "num_pairs", "difference", "difference_low", "difference_high"]
    rows = []
    for configuration in found:
        for key in score_keys(found):
            if one := result(configuration, key, baseline):
                value, apart = one.estimate, one.difference
                numbers = [value.num_seeds, value.mean, value.low, value.high, baseline.label if baseline else None]
                numbers += [apart.num_seeds, apart.mean, apart.low, apart.high] if apart else [None] * 4
                rows.append([configuration.label, *configuration.settings.values(), *key, *numbers])
    return _write(folder / RESULTS_FILE, [header, *rows])


def write_members(folder: Path, sweep: SweepRecord, found: Sequence[Configuration]) -> Path:
    """Write `sweep_members.csv`: a row for each member with what varies, how far it is, and its final scores."""
    names = list(found[0].settings) if found else []
    labels = {id(member): configuration.label for configuration in found for member in configuration.members}
    keys = score_keys(found)
    told = [f"{mode}/{name}" for mode, name in keys]
    rows = [["member", "folder", "status", "total_steps", "configuration", *names, "seed", *told]]
    for member in sweep.members:
        scores = stage_scores(member.run, -1) if member.status.value == "finished" else {}
        settings = [(member.settings or {}).get(name) for name in names]
        total_steps = mapping(member.run.config.get("phase")).get("total_steps") if member.run else None
        told = [member.number, member.path_from(folder), member.status.value, total_steps, labels.get(id(member))]
        rows.append([*told, *settings, member.seed, *(scores.get(key) for key in keys)])
    return _write(folder / MEMBERS_FILE, rows)


def _write(file: Path, rows: Sequence[Sequence[object]]) -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["" if cell is None else cell for cell in row] for row in rows])
    return write_whole(file, text.getvalue())
