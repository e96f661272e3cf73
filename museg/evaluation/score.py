"""Scoring: every sample's answer read and entered into its tables, then everything reported written to one folder."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from museg.evaluation.failures import analyse, asks_for_all
from museg.evaluation.rule import Rule, Tables
from museg.evaluation.samples import Answer, BenchmarkSample, Reading
from museg.files import write_whole
from museg.metrics.grounding_scores import set_iou
from museg.metrics.sample_table import SampleTable

METRICS_FILE, SAMPLES_FILE = "metrics.json", "samples.jsonl"
MAX_ANSWER_CHARS = 2_000
MAX_SEGMENTS = 1_000
"""What `samples.jsonl` keeps of a long answer; scores are those of the whole."""
SPOILED_TEXT = "inf"


@dataclass(frozen=True)
class Scored:
    """The samples of a benchmark with what was read in their answers, and the tables they filled."""

    rule: Rule
    samples: Sequence[BenchmarkSample]
    answers: Sequence[Answer]
    readings: Sequence[Reading]
    tables: Tables

    def report(self, name: str, notes: Sequence[str] = ()) -> dict[str, Any]:
        """The contents of `metrics.json`: a function of samples and answers alone."""
        groups = {
            group: {section: table.compute() for section, table in tables.items()}
            for group, tables in self.tables.items()
        }
        overall = self.rule.overall(groups)
        sizes = {group: len(next(iter(tables.values())).table()[0]) for group, tables in self.tables.items()}
        return {
            "benchmark": name,
            "rule": self.rule.name,
            "official_source": self.rule.official_source,
            "num_samples": len(self.samples),
            "num_failed": sum(reading.failure is not None for reading in self.readings),
            "scores": overall,
            "headline": [{"section": section, "name": key} for section, key in self.rule.headline],
            "groups": {group: {"num_samples": sizes[group], **sections} for group, sections in groups.items()},
            "failures": analyse(self.samples, self.readings),
            "notes": [*notes, *self.rule.notes(overall)],
        }


def score(samples: Sequence[BenchmarkSample], answers: Mapping[int, Answer], rule: Rule) -> Scored:
    """Score every sample; `answers` maps a sample's row to its answer and must have one for each."""
    given = [answers[sample.row] for sample in samples]
    rule.look_at(samples)
    tables = rule.new_tables((sample.task, sample.source) for sample in samples)
    rule.prime(tables, samples, given)
    readings = []
    for position, (sample, answer) in enumerate(zip(samples, given, strict=True)):
        reading = rule.read(sample, answer)
        rule.add(tables, position, sample, answer, reading)
        readings.append(reading)
    return Scored(rule, samples, given, rule.settled(tables, samples, readings), tables)


def write_scores(scored: Scored, folder: Path, name: str, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Write `metrics.json` and `samples.jsonl`; returns what the former holds."""
    lines = (json.dumps(plain(line), ensure_ascii=False) for line in sample_lines(scored))
    write_whole(folder / SAMPLES_FILE, "".join(f"{line}\n" for line in lines))
    report = plain(scored.report(name, notes))
    write_whole(folder / METRICS_FILE, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def sample_lines(scored: Scored) -> Iterator[dict[str, Any]]:
    """One line for each sample, with every number its group's tables hold."""
    values = _values_by_position(scored.tables)
    triples = zip(scored.samples, scored.answers, scored.readings, strict=True)
    for position, (sample, answer, reading) in enumerate(triples):
        segments = reading.segments
        yield {
            "id": sample.sample_id,
            "row": sample.row,
            "task": sample.task,
            "source": sample.source,
            "video": sample.video,
            "question": sample.question,
            "targets": sample.targets,
            "duration_s": sample.duration_s,
            "answer": answer.text[:MAX_ANSWER_CHARS],
            "segments": None if segments is None else segments[:MAX_SEGMENTS],
            "num_segments": None if segments is None else len(segments),
            "failure": reading.failure,
            "iou": set_iou(segments or (), sample.targets) if asks_for_all(sample) else None,
            "values": values.get(position, {}),
        }


def _values_by_position(tables: Tables) -> dict[int, dict[str, dict[str, float]]]:
    found: dict[int, dict[str, dict[str, float]]] = {}
    for sections in tables.values():
        for section, table in sections.items():
            positions, rows = table.stored()
            for position, row in zip(positions.tolist(), rows.tolist(), strict=True):
                found.setdefault(position, {}).setdefault(section, {}).update(zip(table.columns, row, strict=True))
    return found


def tables_from_samples(lines: Sequence[Mapping[str, Any]], rule: Rule) -> Tables:
    """The tables of a finished evaluation, from the lines of its `samples.jsonl`.

    Raises ValueError naming the sample that lacks a column.
    """
    tables = rule.new_tables((line["task"], line["source"]) for line in lines)
    for group, sections in tables.items():
        positions = [place for place, line in enumerate(lines) if group in rule.groups(line["task"], line["source"])]
        for section, table in sections.items():
            found = [(place, _row(lines[place], section, table)) for place in positions]
            kept = [(place, row) for place, row in found if row is not None]
            places, rows = zip(*kept, strict=True) if kept else ((), ())
            table.restore(np.array(places), np.array(rows).reshape(len(rows), len(table.columns)))
    return tables


def _row(line: Mapping[str, Any], section: str, table: SampleTable) -> list[float] | None:
    """A line's values for one table; None where it has none of them, as a query without highlights has."""
    values = line["values"].get(section, {})
    missing = [name for name in table.columns if name not in values]
    if len(missing) == len(table.columns):
        return None
    if missing:
        raise ValueError(
            f"sample {line['id']!r} lacks {missing} in its {section} values: another version scored it; score it again"
        )
    return [_number(values[name]) for name in table.columns]


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    return math.inf if value == SPOILED_TEXT else float(value)


def plain(value: Any) -> Any:
    """`value` as strict JSON: arrays as lists, NaN as null, infinity as the text "inf"."""
    if isinstance(value, float):  # most values are, and an abstract class like Mapping is slow to ask
        if math.isfinite(value):
            return float(value)
        return None if math.isnan(value) else SPOILED_TEXT
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    return plain(value.item()) if isinstance(value, np.generic) else value
