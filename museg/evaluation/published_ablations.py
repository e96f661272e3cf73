"""The paper's ablations, as far as their values are known, and a recorded sweep of ours beside them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from museg.metrics.keys import MODES

FILE = "published_ablations.yaml"
NOT_KNOWN = "not known"
SCORE = "mean_iou"
Row = dict[str, Any]


@dataclass(frozen=True)
class PublishedAblation:
    """One table or figure of the paper."""

    source: str
    setting: str
    """The setting of ours that its rows vary."""
    rows: Mapping[str, Mapping[str, float]]
    """Value of that setting -> column -> what is printed; no columns where that is not known."""
    of_steps: int | None = None
    """Where the setting counts steps: of how many in all."""

    def is_repeated_by(self, columns: Sequence[str]) -> bool:
        """Whether a sweep varies the same setting and no other, by the header of its `sweep.csv`."""
        return [*columns][1 : [*columns].index("mode")] == [self.setting]

    def beside(self, results: Iterable[Mapping[str, Any]], total_steps: int) -> list[Row]:
        """The paper's rows joined with a sweep's: the setting's value, the paper's columns, our mean IoU.

        Both stand with their differences to the sweep's baseline. What is not known says so; what the sweep does not
        have is None. Steps of the paper's total are taken as shares of ours.

        results: the rows of the `sweep.csv` of a sweep that repeats this. total_steps: what its members take in all.
        """
        ours = {(str(one[self.setting]), one["mode"]): one for one in results if one["score"] == SCORE}
        baseline = next((value for (value, _), one in ours.items() if one["configuration"] == one["baseline"]), None)
        values = {name: self._ours(name, total_steps) for name in self.rows}
        theirs = next((self.rows[name] for name, value in values.items() if value == baseline), {})
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row)) or ["value"]
        return [
            {self.setting: values[name]} | _paper(row, theirs, columns) | _measured(values[name], ours)
            for name, row in self.rows.items()
        ]

    def _ours(self, name: str, total_steps: int) -> str:
        """The value of our setting that a row of the paper is about."""
        return name if self.of_steps is None else str(round(int(name) * total_steps / self.of_steps))


def _paper(row: Mapping[str, float], baseline: Mapping[str, float], columns: Iterable[str]) -> Row:
    made: Row = {}
    for column in columns:
        made[f"paper {column}"] = row.get(column, NOT_KNOWN)
        is_known = column in row and column in baseline
        made[f"paper {column}, difference"] = row[column] - baseline[column] if is_known else NOT_KNOWN
    return made


def _measured(value: str, ours: Mapping[tuple[str, str], Mapping[str, Any]]) -> Row:
    found = {mode: ours.get((value, mode), {}) for mode in MODES}
    names = {"": "mean", ", difference": "difference", ", low": "difference_low", ", high": "difference_high"}
    return {f"{mode} mIoU{told}": one.get(column) for mode, one in found.items() for told, column in names.items()}


@cache
def published_ablations() -> Mapping[str, PublishedAblation]:
    """Every ablation by the experiment of conf/ that repeats it."""
    text = (files("museg.evaluation") / FILE).read_text(encoding="utf-8")
    return {
        experiment: PublishedAblation(
            source=table["source"],
            setting=table["setting"],
            rows={str(name): dict(row) for name, row in table["rows"].items()},
            of_steps=table.get("of_steps"),
        )
        for experiment, table in yaml.safe_load(text)["tables"].items()
    }
