"""One broken rule of a configuration, in the words its author needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Violation:
    """Where, which rule, the value found, and what to do about it (empty when the rule already says it)."""

    place: str
    rule: str
    value: Any
    remedy: str

    def __str__(self) -> str:
        remedy = f" -> {self.remedy}" if self.remedy else ""
        return f"  {self.place}: {self.rule}; found {self.value!r}{remedy}"
