"""What a benchmark or a data set is made of and where each part comes from, read from sources.yaml beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

Unpack = Literal["flat", "tree"]


@dataclass(frozen=True)
class Pin:
    """What a file must be: its size and its SHA-256 in hexadecimal digits, as far as they are known."""

    num_bytes: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """One file or archive of the annotations or the videos; sources.yaml says what its fields mean."""

    name: str
    to: str
    licence: str
    origin: str
    url: str | None = None
    unpack: Unpack | None = None
    only: tuple[str, ...] = ()
    by_hand: str | None = None
    pin: Pin = Pin()
    listed_gb: float | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.by_hand is None):
            raise ValueError(f"source {self.name} needs either url or by_hand")
        if self.unpack not in (None, "flat", "tree"):
            raise ValueError(f"source {self.name}: unpack must be flat or tree, not {self.unpack!r}")

    def places(self, root: Path) -> list[Path]:
        """The files that must be there for an annotation source to be complete."""
        return [root / self.to / name for name in self.only] or [root / self.to]


@dataclass(frozen=True)
class Preparation:
    """What one benchmark or data set needs."""

    kind: str
    """benchmark or dataset."""
    name: str
    annotations: tuple[Source, ...] = ()
    videos: tuple[Source, ...] = ()
    nothing_to_fetch: str | None = None
    """Why there is nothing to do."""

    @property
    def label(self) -> str:
        """For file names and messages."""
        return f"{self.kind}_{self.name}"


def preparations() -> Mapping[str, Mapping[str, Preparation]]:
    """Everything that can be prepared, by kind (benchmark, dataset) and name."""
    return read_preparations(_published())


def read_preparations(described: Mapping[str, Any]) -> dict[str, dict[str, Preparation]]:
    """The same from the content of a file like sources.yaml. Raises ValueError for what it cannot mean."""
    sources = {name: _source(name, fields) for name, fields in described["sources"].items()}
    return {
        kind: {name: _preparation(kind, name, fields or {}, sources) for name, fields in named.items()}
        for kind, named in described["preparations"].items()
    }


@cache
def _published() -> Mapping[str, Any]:
    return yaml.safe_load(files("museg.data").joinpath("sources.yaml").read_text(encoding="utf-8"))


def _source(name: str, fields: Mapping[str, Any]) -> Source:
    known = dict(fields)
    pin = Pin(known.pop("num_bytes", None), known.pop("sha256", None))
    only = tuple(known.pop("only", ()))
    try:
        return Source(name=name, pin=pin, only=only, **known)
    except TypeError as error:
        raise ValueError(f"source {name}: {error}") from error


def _preparation(kind: str, name: str, fields: Mapping[str, Any], sources: Mapping[str, Source]) -> Preparation:
    known = dict(fields)
    try:
        for key in ("annotations", "videos"):
            known[key] = tuple(sources[source] for source in known.get(key, ()))
        return Preparation(kind=kind, name=name, **known)
    except KeyError as error:
        raise ValueError(f"{kind} {name} names the unknown source {error}") from error
    except TypeError as error:
        raise ValueError(f"{kind} {name}: {error}") from error
