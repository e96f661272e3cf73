"""The run's own record of numbers and texts: `metrics.csv` and `completions.jsonl`, exact across a resume."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from museg.files import write_whole

INDEX_COLUMNS = ("step", "phase", "kind", "cold_start_step")
"""`step` counts finished reinforcement steps; `kind` is train, validation or cold_start."""


class LogRow(NamedTuple):
    """One row of the run log, with the completions of its step where it has any."""

    step: int
    phase: str
    kind: str
    metrics: Mapping[str, float]
    cold_start_step: int | None = None
    completions: Sequence[Mapping[str, Any]] = ()


class Mirror(Protocol):
    """Shows the run log somewhere else. Rows are counted from 0 over the whole run, across resumes."""

    def catch_up(self, rows: Iterable[LogRow]) -> None:
        """Hear of all rows that an earlier process recorded, from row 0 on."""

    def add(self, number: int, row: LogRow) -> None:
        """Take over a new row; the steps after a checkpoint are told again when a run is resumed from it."""


class RunLog:
    """Appends rows to `metrics.csv` (one wide table, empty cell = not measured) and lines to `completions.jsonl`.

    Every row is flushed when written, so a killed run keeps what it logged. `forget_after(step)` drops what a resumed
    run is about to log again. `show_in` tells mirrors of every row, those recorded already included.
    """

    def __init__(self, run_dir: Path, metric_columns: Sequence[str]) -> None:
        self.metrics_file = run_dir / "metrics.csv"
        self.completions_file = run_dir / "completions.jsonl"
        self.columns = [*INDEX_COLUMNS, *metric_columns]
        self.mirrors: list[Mirror] = []
        self.num_mirrored = 0
        if not self.metrics_file.exists() or not self.metrics_file.stat().st_size:
            write_whole(self.metrics_file, ",".join(self.columns) + "\n")

    def add(
        self,
        step: int,
        phase: str,
        kind: str,
        metrics: Mapping[str, float],
        cold_start_step: int | None = None,
        completions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Append one row, and the completions of its step.

        A metric that has no column is our own mistake and raises `ValueError`.
        """
        index = {"step": step, "phase": phase, "kind": kind, "cold_start_step": cold_start_step}
        with self.metrics_file.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            writer.writerow(index | {key: repr(float(value)) for key, value in metrics.items()})
        self.add_completions(completions)
        for mirror in self.mirrors:
            mirror.add(self.num_mirrored, LogRow(step, phase, kind, metrics, cold_start_step, completions))
        self.num_mirrored += 1

    def add_completions(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append sampled completions, one JSON object a line."""
        with self.completions_file.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    def rows(self) -> list[dict[str, str]]:
        """All rows written so far, as text."""
        with self.metrics_file.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def recorded(self) -> Iterator[LogRow]:
        """All rows written so far, as they were added."""
        completions: dict[int, list[dict[str, Any]]] = {}
        if self.completions_file.exists():
            for line in map(json.loads, self.completions_file.read_text(encoding="utf-8").splitlines()):
                completions.setdefault(line["step"], []).append(line)
        for row in self.rows():
            step, supervised = int(row["step"]), row["cold_start_step"]
            metrics = {key: float(row[key]) for key in self.columns if key not in INDEX_COLUMNS and row[key]}
            of_step = completions.get(step, []) if row["kind"] == "train" else []
            yield LogRow(step, row["phase"], row["kind"], metrics, int(supervised) if supervised else None, of_step)

    def show_in(self, mirrors: Sequence[Mirror]) -> None:
        """Tell each mirror what is recorded, and from now on every new row."""
        recorded = list(self.recorded()) if mirrors else []
        for mirror in mirrors:
            mirror.catch_up(recorded)
        self.mirrors, self.num_mirrored = list(mirrors), len(recorded)

    def forget_after(self, step: int) -> None:
        """Drop rows and completions of later steps; a line torn by a kill is dropped with them."""
        header, *rows = self.metrics_file.read_text(encoding="utf-8").splitlines()
        whole = [row for row in rows if row.count(",") >= len(self.columns) - 1]
        write_whole(
            self.metrics_file, _as_text([header, *(row for row in whole if int(row.partition(",")[0]) <= step)])
        )
        if self.completions_file.exists():
            kept = _lines_where(self.completions_file, lambda line: line["step"] <= step)
            write_whole(self.completions_file, _as_text(kept))


def _lines_where(file: Path, wanted: Callable[[dict[str, Any]], bool]) -> list[str]:
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:  # the last line of a killed run
            continue
        if wanted(record):
            kept.append(line)
    return kept


def _as_text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
