"""The metrics of a comparison as tables: one for each benchmark, its headline metrics apart from the rest."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from museg.metrics.evaluation_keys import describe, with_unit
from museg.report.evaluation_tables import shown
from museg.report.facts import signed
from museg.report.tables import shown_decimals
from museg.report.tolerant import clip, listed, mapping, number, text_of

MAX_NAME_CHARS = 28


@dataclass(frozen=True)
class ComparedCell:
    """A value or difference, its interval below it, and whether it stands out: an interval that leaves zero out."""

    text: str
    interval: str = ""
    p_value: str = ""
    is_clear: bool = False


@dataclass(frozen=True)
class PublishedCell:
    """What a model's authors printed, and the number (from 1) of the note that says where and how."""

    text: str
    note: int


@dataclass(frozen=True)
class ComparedRow:
    """One metric: its value in each run, each later run's difference to the first, and published numbers by model."""

    label: str
    name: str
    section: str
    meaning: str
    values: tuple[ComparedCell, ...]
    differences: tuple[ComparedCell, ...]
    published: tuple[tuple[PublishedCell, ...], ...]


@dataclass(frozen=True)
class BenchmarkTable:
    """The metrics of one benchmark."""

    benchmark: str
    num_samples: str
    models: tuple[str, ...]
    """Models with published numbers, in the order of the rows' cells."""
    headline: tuple[ComparedRow, ...]
    """What the benchmark names first, and whatever others have published; everything where there is neither."""
    other: tuple[ComparedRow, ...]
    groups: tuple[tuple[str, tuple[ComparedRow, ...]], ...]
    notes: tuple[str, ...]
    """Where published numbers come from and how their settings differ, for the cells that name a note's number."""


def run_names(comparison: Mapping[str, Any]) -> list[str]:
    """The names of the compared runs."""
    return [text_of(mapping(run).get("name")) for run in listed(comparison.get("runs"))]


def benchmark_tables(comparison: Mapping[str, Any]) -> list[BenchmarkTable]:
    """A table for each benchmark that has metrics, in the order of the comparison."""
    metrics = [mapping(metric) for metric in listed(comparison.get("metrics"))]
    names = list(dict.fromkeys(text_of(metric.get("benchmark")) for metric in metrics))
    return [_table(comparison, name, [m for m in metrics if text_of(m.get("benchmark")) == name]) for name in names]


def _table(comparison: Mapping[str, Any], benchmark: str, metrics: Sequence[Mapping[str, Any]]) -> BenchmarkTable:
    numbers = [
        entry
        for entry in map(mapping, listed(comparison.get("published")))
        if text_of(entry.get("benchmark")) == benchmark and number(entry.get("value")) is not None
    ]
    models = list(dict.fromkeys(text_of(entry.get("model")) for entry in numbers))
    overall = [metric for metric in metrics if not text_of(metric.get("group"))]
    beside = {_key(entry) for entry in numbers}
    seen_first = [metric for metric in overall if metric.get("is_headline") or _key(metric) in beside] or overall
    rest = [metric for metric in overall if metric not in seen_first]
    notes = list(dict.fromkeys(map(_note, numbers)))
    return BenchmarkTable(
        benchmark=clip(benchmark, 60),
        num_samples=shown(number(mapping(comparison.get("num_samples")).get(benchmark)), 0),
        models=tuple(clip(model, MAX_NAME_CHARS) for model in models),
        headline=tuple(_row(metric, models, numbers, notes) for metric in seen_first),
        other=tuple(_row(metric) for metric in rest),
        groups=_groups(metrics),
        notes=tuple(notes),
    )


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return text_of(entry.get("section")), text_of(entry.get("name"))


def _groups(metrics: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, tuple[ComparedRow, ...]], ...]:
    """Rows by group; a section that one group alone has is left out: that group is the whole benchmark."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    having: dict[str, set[str]] = {}
    for metric in metrics:
        if group := text_of(metric.get("group")):
            groups.setdefault(group, []).append(metric)
            having.setdefault(_key(metric)[0], set()).add(group)
    shown_rows = {
        group: tuple(_row(metric) for metric in found if len(having[_key(metric)[0]]) > 1)
        for group, found in groups.items()
    }
    return tuple((clip(group, 60), rows) for group, rows in shown_rows.items() if rows)


def _note(entry: Mapping[str, Any]) -> str:
    source, differs = text_of(entry.get("source")), text_of(entry.get("differs"))
    return f"another setting: {differs} ({source})" if differs else source


def _row(
    metric: Mapping[str, Any],
    models: Sequence[str] = (),
    numbers: Sequence[Mapping[str, Any]] = (),
    notes: Sequence[str] = (),
) -> ComparedRow:
    estimates = [mapping(estimate) for estimate in listed(metric.get("estimates"))]
    values = [number(estimate.get("value")) for estimate in estimates]
    known = [value for value in values if value is not None]
    are_counts = bool(known) and all(value.is_integer() for value in known) and max(map(abs, known)) > 1
    decimals = 0 if are_counts or not known else shown_decimals(known)
    section, name = _key(metric)
    beside = [entry for entry in numbers if _key(entry) == (section, name)]
    key = describe(name)
    return ComparedRow(
        label=clip(with_unit(key), 60),
        name=clip(name, 60),
        section=clip(section, 24),
        meaning=key.meaning,
        values=tuple(_value_cell(estimate, decimals) for estimate in estimates),
        differences=tuple(_difference_cell(mapping(d), decimals) for d in listed(metric.get("differences"))),
        published=tuple(
            tuple(
                PublishedCell(shown(number(entry.get("value")), decimals), 1 + notes.index(_note(entry)))
                for entry in beside
                if text_of(entry.get("model")) == model
            )
            for model in models
        ),
    )


def _value_cell(estimate: Mapping[str, Any], decimals: int) -> ComparedCell:
    low, high = number(estimate.get("low")), number(estimate.get("high"))
    interval = "" if low is None or high is None else f"{shown(low, decimals)}–{shown(high, decimals)}"
    return ComparedCell(shown(number(estimate.get("value")), decimals), interval)


def _difference_cell(difference: Mapping[str, Any], decimals: int) -> ComparedCell:
    value, p_value = number(difference.get("value")), number(difference.get("p_value"))
    low, high = number(difference.get("low")), number(difference.get("high"))
    if value is None:
        return ComparedCell("–")
    if low is None or high is None:
        return ComparedCell(signed(value, decimals))
    p_text = "" if p_value is None else "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"
    interval = f"{signed(low, decimals)} to {signed(high, decimals)}"
    return ComparedCell(signed(value, decimals), interval, p_text, is_clear=low > 0 or high < 0)
