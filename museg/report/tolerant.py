"""Reading files that may be cut short, damaged or hostile: what cannot be used is counted, never raised.

A run that was killed leaves half a line behind, a diverged run leaves NaN, and texts come from a language model. The
report must open for all of them and say what it left out.
"""

import csv
import json
import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

MAX_LINE_CHARS = 4_000_000
"""A longer line is no row of a run log; it is skipped unparsed so that its cost stays bounded."""
MAX_CONFIG_BYTES = 2_000_000
MAX_ABS_NUMBER = 1e15
"""Larger magnitudes are treated like infinity: they mean a diverged run and would break every axis."""
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
ABRIDGED = reprlib.Repr()
ABRIDGED.maxlevel = 2


@dataclass
class Defects:
    """What the report had to leave out, counted by file and reason."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, file: str, reason: str) -> None:
        """Count one occurrence of `reason` (a noun phrase in the singular) in `file`."""
        self.counts[file, reason] += 1

    def sentences(self) -> list[str]:
        """One line for each file and reason, in the order first met."""
        return [f"{file}: {count} × {reason}" for (file, reason), count in self.counts.items()]


def visible(text: str) -> str:
    """The text with control characters, lone surrogates and direction overrides made visible as replacement signs.

    Such characters cannot be encoded, break XML, or let a text reorder the page around it; line breaks and tabs stay.
    """
    return UNPRINTABLE.sub("\ufffd", text)


def clip(text: str, max_chars: int) -> str:
    """At most `max_chars` characters of `text`, ending in an ellipsis where something was cut."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"


def number(value: Any) -> float | None:
    """`value` as a finite float of sane size, or None; booleans and texts are no numbers, NaN fails the comparison."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= MAX_ABS_NUMBER else None


def text_of(value: Any) -> str:
    """A text for any value a file may hold where a text belongs: nothing for None, an abridged form for containers.

    Abridged, because a few lines of YAML can stand for a list that is endless when written out.
    """
    if value is None:
        return ""
    return visible(value if isinstance(value, str) else ABRIDGED.repr(value))


def mapping(value: Any) -> Mapping[str, Any]:
    """`value` where it is a mapping, else an empty one: for walking into nested files of unknown shape."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """`value` where it is a list, nothing for None, else a list of it alone."""
    return value if isinstance(value, list) else [] if value is None else [value]


def read_json(path: Path, defects: Defects) -> dict[str, Any] | None:
    """The JSON object in a file; None where there is no file or no object (the latter is counted)."""
    if not path.is_file():
        return None
    value = _parse(path.read_text(encoding="utf-8", errors="replace"), path.name, defects)
    if not isinstance(value, dict):
        defects.add(path.name, "file without a JSON object")
        return None
    return value


def read_jsonl(path: Path, defects: Defects) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, line by line; other lines are counted. A missing file has none."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():
                continue
            value = _parse(line, path.name, defects)
            if isinstance(value, dict):
                yield value
            else:
                defects.add(path.name, "line without a JSON object")


def read_yaml(path: Path, defects: Defects) -> dict[str, Any]:
    """The mapping in a YAML file as plain data (nothing is instantiated); empty where there is none."""
    if not path.is_file():
        return {}
    if path.stat().st_size > MAX_CONFIG_BYTES:
        defects.add(path.name, f"file larger than {MAX_CONFIG_BYTES} bytes")
        return {}
    try:
        value = yaml.safe_load(visible(path.read_text(encoding="utf-8", errors="replace")))
    except (yaml.YAMLError, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        defects.add(path.name, "file without a YAML mapping")
        return {}
    return value


def read_csv(path: Path, defects: Defects) -> Iterator[dict[str, str]]:
    """The rows of a table with a header line; rows of another width are counted. A missing file has none."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = csv.reader(line.replace("\0", "\ufffd") for line in lines)
        header = next(rows, [])
        while True:
            try:
                row = next(rows)
            except StopIteration:
                return
            except csv.Error:
                defects.add(path.name, "unreadable row")
                continue
            if len(row) == len(header):
                yield dict(zip(header, row, strict=True))
            elif row:
                defects.add(path.name, "row of the wrong width")


def _parse(text: str, file: str, defects: Defects) -> Any:
    if len(text) > MAX_LINE_CHARS:
        return None
    try:
        return _cleaned(json.loads(text), file, defects)
    except (ValueError, RecursionError):
        return None


def _cleaned(value: Any, file: str, defects: Defects) -> Any:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(key): _cleaned(item, file, defects) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, file, defects) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and number(value) is None:
        defects.add(file, "non-finite number")
        return None
    return value
