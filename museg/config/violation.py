"""One broken rule of a configuration, in the words its author needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Violation:
    """Where, which rule, the value found, and what to do about it; the last two may already be part of the rule."""

    place: str
    rule: str
    value: Any = None
    remedy: str = ""

    def __str__(self) -> str:
        found = "" if self.value is None else f"; found {self.value!r}"
        remedy = f" -> {self.remedy}" if self.remedy else ""
        return f"  {self.place}: {self.rule}{found}{remedy}"
