"""What others have published, with source, beside which metric of ours it belongs, and where its setting differs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

FILE = "published_numbers.yaml"


@dataclass(frozen=True)
class PublishedNumber:
    """One number of one model, in the unit of the metric it stands beside."""

    model: str
    benchmark: str
    section: str
    name: str | None
    """Metric of ours that the column comes closest to, or None where nothing is like it."""
    value: float
    column: str
    """The column of the published table."""
    source: str
    differs: str
    """How its setting differs from ours; empty where we know of nothing."""


@cache
def all_published() -> tuple[PublishedNumber, ...]:
    """Every published number, in the order of the file."""
    text = (files("museg.evaluation") / FILE).read_text(encoding="utf-8")
    return tuple(number for table in yaml.safe_load(text)["tables"].values() for number in _numbers(table))


def published(models: Iterable[str], benchmarks: Iterable[str]) -> tuple[PublishedNumber, ...]:
    """The numbers of these models on these benchmarks that stand beside a metric of ours.

    Models may be named in lower case with underscores, as `museg_7b`.

    Raises:
        ValueError: the file has no such model.
    """
    known = {_key(number.model): number.model for number in all_published()}
    wanted, shown = {_key(model): model for model in models}, set(benchmarks)
    if unknown := [model for key, model in wanted.items() if key not in known]:
        raise ValueError(f"nothing published is known of {', '.join(unknown)}; known models: {', '.join(known)}")
    return tuple(
        number
        for number in all_published()
        if number.name and _key(number.model) in wanted and number.benchmark in shown
    )


def _key(model: str) -> str:
    """A model's name as it is typed on a command line: museg_7b for MUSEG-7B."""
    return re.sub(r"\W+", "_", model.lower())


def _numbers(table: Mapping[str, Any]) -> Iterable[PublishedNumber]:
    for model, printed in table["models"].items():
        for (column, meant), value in zip(table["columns"].items(), printed, strict=True):
            if value is not None:
                yield PublishedNumber(
                    model=model,
                    benchmark=meant["benchmark"],
                    section=meant["section"],
                    name=meant["name"],
                    value=round(value * meant["scale"], 6),
                    column=column,
                    source=table["source"],
                    differs=meant.get("differs", ""),
                )
