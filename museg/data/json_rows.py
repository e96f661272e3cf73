"""Rows of a JSON file that is one long list, one after another; little more than the longest of them is held."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

CHUNK_CHARS = 2**20
"""Read at a time."""
MAX_ROW_CHARS = 2**24
"""Longer rows are refused: what looks like one is mostly a file of another kind, or one in which a quote is missing."""
LONGEST_WORD_CHARS = 16
"""No word that the end of what was read may go through (`-Infinity`, an escape, `.5e+9` of a number) is longer."""

_BLANKS = re.compile(r"[ \t\r\n]*")


def json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Number, from 0, and value of every row.

    Raises ValueError, which names the file and where in it, for a file that does not exist, holds no list, or is no
    JSON from some row on.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"annotation file {path} does not exist")
    num_rows = 0
    with path.open(encoding="utf-8-sig") as file:
        try:
            for value in _Reading(file).rows():
                yield num_rows, value
                num_rows += 1
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8, somewhere behind its first {num_rows} rows") from error
        except _NoJson as error:
            raise ValueError(f"{path} {error}, behind its first {num_rows} rows") from error


class _NoJson(Exception):
    """What is wrong with the text, said of the file."""


class _Reading:
    """A file's text, of which only what is not yet used is held."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.num_dropped = file, "", 0, 0
        self.decode = json.JSONDecoder().raw_decode

    def rows(self) -> Iterator[Any]:
        """The values of the list."""
        if self._next_sign() != "[":
            raise _NoJson("must hold a JSON list, one entry a row")
        self.at += 1
        separator = self._next_sign() if self._next_sign() == "]" else ","
        while separator == ",":
            yield self._value()
            separator = self._next_sign()
            if separator not in (",", "]"):
                raise self._fault("Expecting ',' or ']'", self.at)
            self.at += separator == ","
        self.at += 1
        if self._next_sign():
            raise self._fault("Expecting nothing more", self.at)

    def _value(self) -> Any:
        self._next_sign()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
                if len(self.text) - end > LONGEST_WORD_CHARS or not self._read_on():  # else a number may go on
                    self.at = end
                    return value
            except json.JSONDecodeError as error:
                is_cut = error.msg.startswith("Unterminated string") or len(self.text) - error.pos < LONGEST_WORD_CHARS
                is_short = len(self.text) - self.at <= MAX_ROW_CHARS
                if not (is_cut and is_short and self._read_on()):
                    raise self._fault(error.msg, error.pos) from error
            except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets within brackets
                raise self._fault(str(error), self.at) from error

    def _next_sign(self) -> str:
        """The next character that is no blank, "" at the end."""
        while True:
            self.at = _BLANKS.match(self.text, self.at).end()
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._read_on():
                return ""

    def _read_on(self) -> bool:
        """Read as much again as is left, and drop what is used; at the end of the file change nothing: False."""
        read = self.file.read(max(CHUNK_CHARS, len(self.text) - self.at))
        if not read:
            return False
        self.num_dropped += self.at
        self.text, self.at = self.text[self.at :] + read, 0
        return True

    def _fault(self, what: str, place: int) -> _NoJson:
        return _NoJson(f"is not JSON ({what}: character {self.num_dropped + place})")
