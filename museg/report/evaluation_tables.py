"""Scores as tables: families of metrics by IoU threshold for the whole benchmark, one row for each group of it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from museg.metrics.evaluation_keys import describe, with_unit
from museg.report.evaluation_folder import SECTIONS, numbers
from museg.report.tables import Cell, Column, StageTable, shown_decimals
from museg.report.tolerant import clip, listed, mapping, number, text_of

AT_THRESHOLD = re.compile(r"(.+?)[@_](0\.\d+)")
"""Name of a metric at an IoU threshold: the family, and the threshold."""
COUNTS = ("Total", "Failed")


@dataclass(frozen=True)
class FamilyRow:
    """One metric with its values: without threshold (empty where there is none), and by threshold."""

    label: str
    names: str
    """The metric's names in `metrics.json`."""
    meaning: str
    value: str
    by_threshold: tuple[str, ...]


@dataclass(frozen=True)
class SectionTable:
    """All metrics of one section over the whole benchmark."""

    section: str
    about: str
    thresholds: tuple[str, ...]
    rows: tuple[FamilyRow, ...]


@dataclass(frozen=True)
class Tile:
    """A number for the top of the page."""

    label: str
    value: str


def family_of(name: str) -> tuple[str, str]:
    """(family, threshold as written) of a metric; the threshold is empty for a metric that has none."""
    found = AT_THRESHOLD.fullmatch(name)
    return (found[1], found[2]) if found else (name, "")


def shown(value: float | None, decimals: int | None = None) -> str:
    """A score as it stands in a table; a whole number above one is a count, None a dash."""
    if value is None:
        return "–"
    if decimals is None:
        decimals = 0 if value.is_integer() and abs(value) > 1 else shown_decimals([value])
    return f"{value:,.{decimals}f}"


def section_tables(metrics: Mapping[str, Any]) -> list[SectionTable]:
    """A table for each section that has scores, in the order of `SECTIONS`."""
    scores = mapping(metrics.get("scores"))
    found = {section: numbers(scores.get(section)) for section in [*SECTIONS, *sorted(set(scores) - set(SECTIONS))]}
    return [_section_table(section, values) for section, values in found.items() if values]


def _section_table(section: str, values: Mapping[str, float | None]) -> SectionTable:
    families: dict[str, dict[str, str]] = {}
    for name in values:
        family, threshold = family_of(name)
        families.setdefault(family, {})[threshold] = name
    thresholds = tuple(sorted({at for names in families.values() for at in names if at}, key=float))
    rows = tuple(_row(names, values, thresholds) for names in families.values())
    return SectionTable(clip(section, 40), SECTIONS.get(section, ""), thresholds, rows)


def _row(names: Mapping[str, str], values: Mapping[str, float | None], thresholds: Sequence[str]) -> FamilyRow:
    """One family from its names by threshold; all its numbers have the same decimals."""
    known = [values[name] for name in names.values() if values[name] is not None]
    decimals = shown_decimals(known) if known and set(names) != {""} else None
    cells = {at: shown(values[name], decimals) for at, name in names.items()}
    threshold = "" if "" in names else next(iter(names))
    key = describe(names[threshold])
    meaning = key.meaning.replace(f"IoU {threshold}", "the IoU of the column") if threshold else key.meaning
    return FamilyRow(
        label=label_of(names[threshold]),
        names=", ".join(names.values()),
        meaning=meaning,
        value=cells.get("", ""),
        by_threshold=tuple(cells.get(at, "") for at in thresholds),
    )


def label_of(name: str) -> str:
    """A metric's label, without its threshold where it has one."""
    _, threshold = family_of(name)
    label = with_unit(describe(name))
    if threshold:
        label = label.replace(f"@{threshold}", "").replace(f" at {threshold}", "").replace(f"_{threshold}", "")
    return clip(label, 40)


def group_tables(metrics: Mapping[str, Any]) -> list[tuple[str, list[StageTable]]]:
    """For each section with scores, its tables by group: groups with the same metrics share one.

    A section that only one group has is left out: that group is the whole benchmark.
    """
    groups = {name: mapping(group) for name, group in mapping(metrics.get("groups")).items()}
    tables = []
    for section in SECTIONS:
        alike: dict[tuple[str, ...], dict[str, dict[str, float | None]]] = {}
        for name, group in groups.items():
            values = numbers(group.get(section))
            if values:
                alike.setdefault(tuple(values), {})[name] = values
        if sum(map(len, alike.values())) > 1:
            tables.append((section, [_group_table(section, names, rows) for names, rows in alike.items()]))
    return tables


def _group_table(section: str, names: Sequence[str], rows: Mapping[str, Mapping[str, float | None]]) -> StageTable:
    tasks = {group.partition("/")[0] for group in rows}
    columns = [_column(name, next(iter(tasks)) if len(tasks) == 1 else None) for name in names]
    decimals = [_column_decimals(name, [row[name] for row in rows.values()]) for name in names]
    cells = {
        group: tuple(Cell(shown(row[name], places), "", False) for name, places in zip(names, decimals, strict=True))
        for group, row in rows.items()
    }
    return StageTable(section, tuple(columns), tuple((clip(group, 60), row) for group, row in cells.items()))


def _column_decimals(name: str, values: Sequence[float | None]) -> int:
    known = [value for value in values if value is not None]
    return 0 if name in COUNTS or not known else shown_decimals(known)


def _column(name: str, task: str | None) -> Column:
    _, threshold = family_of(name)
    label = clip(label_of(name), 24)
    meaning = f"{describe(name, task).meaning} ({name})"
    return Column(name, f"{label} at IoU" if threshold else "", threshold or label, meaning)


def tiles(metrics: Mapping[str, Any]) -> list[Tile]:
    """The metrics that `headline` names, with their section where it is not the official one."""
    scores = mapping(metrics.get("scores"))
    found = []
    for entry in listed(metrics.get("headline")):
        section, name = (text_of(mapping(entry).get(key)) for key in ("section", "name"))
        value = number(mapping(scores.get(section)).get(name))
        if value is not None:
            label = with_unit(describe(name)) + ("" if section == "official" else f" ({section})")
            found.append(Tile(clip(label, 48), shown(value)))
    return found


def term_table(metrics: Mapping[str, Any]) -> StageTable | None:
    """Rewards of scored completions: a row for the total and each term, a column for each statistic."""
    rows = {"total": numbers(metrics.get("total"))}
    rows |= {str(name): numbers(term) for name, term in mapping(metrics.get("terms")).items()}
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        return None
    columns = tuple(Column(name, "", clip(name.replace("_", " "), 24), name) for name in names)
    cells = tuple(
        (clip(term, 60), tuple(Cell(shown(row.get(name)), "", False) for name in names)) for term, row in rows.items()
    )
    return StageTable("reward", columns, cells)
