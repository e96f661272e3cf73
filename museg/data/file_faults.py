"""Reading files of rows: every row that cannot be used is told at once, with its place and the rule it breaks."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MOST_FAULTS_SHOWN = 20


@dataclass
class FileFaults:
    """What is wrong with `path`, collected while it is read."""

    path: Path
    found: list[tuple[str, str]] = field(default_factory=list)
    """(place in the file, broken rule)."""

    @contextmanager
    def at(self, place: str) -> Iterator[None]:
        """Note a ValueError raised inside as the fault of `place`, and go on."""
        try:
            yield
        except ValueError as error:
            self.found.append((place, str(error)))

    def raise_if_any(self, remedy: str = "correct or remove them") -> None:
        """Raise one ValueError that lists what was found (the first twenty) and the remedy."""
        if not self.found:
            return
        shown = [f"  {place}: {rule}" for place, rule in self.found[:MOST_FAULTS_SHOWN]]
        if len(self.found) > MOST_FAULTS_SHOWN:
            shown.append(f"  and {len(self.found) - MOST_FAULTS_SHOWN} more")
        heading = f"{self.path}: {len(self.found)} row(s) cannot be used; {remedy}:"
        raise ValueError("\n".join([heading, *shown]))


def parsed_json(content: bytes, make_object: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """What JSON text in UTF-8 (a byte order mark is passed over) says. ValueError for anything else.

    `make_object` turns the pairs of every object into a value (None: a dict in which the last of equal keys wins).
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        where = f"byte {error.start + 1}" + (f", line {line}" if line > 1 else "")
        raise ValueError(f"is not UTF-8 ({where})") from error
    try:
        return json.loads(text, object_pairs_hook=make_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error


def json_object(content: bytes) -> dict[str, Any]:
    """As `parsed_json`, for an object."""
    return as_object(parsed_json(content))


def as_object(value: Any) -> dict[str, Any]:
    """`value`, if it is a JSON object; ValueError otherwise."""
    if not isinstance(value, dict):
        raise ValueError(f"is not a JSON object but {type(value).__name__}")
    return value


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Line number from 1, and bytes, of every line that is not blank; one line at a time is held."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, line


def json_file(path: Path) -> Any:
    """The content of a JSON file in which no object has a key twice; ValueError naming the file otherwise."""
    try:
        return parsed_json(path.read_bytes(), _without_repeats)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"an object has the key {repeated!r} twice")
    return made


def json_list(path: Path) -> list[Any]:
    """The content of a JSON file that is a list; ValueError naming the file otherwise."""
    content = json_file(path)
    if not isinstance(content, list):
        raise ValueError(f"{path} must hold a JSON list, one entry a row, but holds {type(content).__name__}")
    return content
