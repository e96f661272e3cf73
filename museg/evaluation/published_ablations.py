"""The paper's ablations, as far as their values are known: what a recorded sweep of ours is to be held against."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

FILE = "published_ablations.yaml"
NOT_KNOWN = "not known"


@dataclass(frozen=True)
class PublishedAblation:
    """One table or figure of the paper."""

    source: str
    setting: str
    """The setting of ours that its rows vary."""
    rows: Mapping[str, Mapping[str, float]]
    """Value of that setting -> column -> what is printed; no columns where that is not known."""

    @property
    def is_known(self) -> bool:
        """Whether every row has values."""
        return all(self.rows.values())

    def table(self) -> list[dict[str, str | float]]:
        """The rows for display, each with the setting's value and every column; what is not known says so."""
        columns = list(dict.fromkeys(column for row in self.rows.values() for column in row)) or ["value"]
        return [
            {self.setting: name} | {column: row.get(column, NOT_KNOWN) for column in columns}
            for name, row in self.rows.items()
        ]


@cache
def published_ablations() -> Mapping[str, PublishedAblation]:
    """Every ablation by the experiment of conf/ that repeats it."""
    text = (files("museg.evaluation") / FILE).read_text(encoding="utf-8")
    return {
        experiment: PublishedAblation(
            source=table["source"],
            setting=table["setting"],
            rows={str(name): dict(row) for name, row in table["rows"].items()},
        )
        for experiment, table in yaml.safe_load(text)["tables"].items()
    }
