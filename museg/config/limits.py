"""Limits that a schema field states beside its type; `museg.config.validation` checks them all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

KEY = "limit"
"""Where a dataclass field keeps its limit in `field.metadata`."""


@dataclass(frozen=True)
class Range:
    """A number's legal range; None leaves a side open, `above` and `below` exclude their bound."""

    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None

    @property
    def rule(self) -> str:
        """The range in words: `a finite number >= 0 and < 1`."""
        sides = ((">=", self.minimum), (">", self.above), ("<=", self.maximum), ("<", self.below))
        return "a finite number " + " and ".join(f"{sign} {bound:g}" for sign, bound in sides if bound is not None)

    def admits(self, value: Any) -> bool:
        """Whether `value`, or every number of a list, lies in the range."""
        if isinstance(value, Sequence) and not isinstance(value, str):
            return all(self.admits(item) for item in value)
        return (
            isinstance(value, (int, float))
            and math.isfinite(value)
            and (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and (self.maximum is None or value <= self.maximum)
            and (self.below is None or value < self.below)
        )


@dataclass(frozen=True)
class Choice:
    """A value out of a short list."""

    options: tuple[Any, ...]

    @property
    def rule(self) -> str:
        """The list in words."""
        return "one of " + ", ".join(str(option) for option in self.options)

    def admits(self, value: Any) -> bool:
        """Whether `value` is on the list."""
        return value in self.options


def number(
    default: Any = MISSING,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field holding a number (or a list of numbers) in a range; a field without default must be set."""
    return field(default=default, metadata={KEY: Range(minimum, above, maximum, below)})


def share(default: Any = MISSING) -> Any:
    """A dataclass field holding a share between 0 and 1."""
    return number(default, minimum=0, maximum=1)


def choice(*options: Any, default: Any = MISSING) -> Any:
    """A dataclass field holding one of `options`; a field without default must be set."""
    return field(default=default, metadata={KEY: Choice(options)})
