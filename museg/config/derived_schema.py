"""Schemas read off a settings dataclass that is cheap to import, so that its fields are declared once."""

from __future__ import annotations

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any, get_type_hints

from omegaconf import MISSING

PLAIN = (bool, int, float, str, int | None, float | None, str | None)
"""Types that a schema can check; a field of any other type takes anything."""


@dataclass
class TargetConfig:
    """The base of every schema whose entries are the arguments of one class or function."""

    _target_: str = MISSING


def derived_schema(settings: type, *bases: type) -> type:
    """A dataclass with the fields, types and defaults of `settings`, after those of the schemas in `bases`."""
    hints = get_type_hints(settings)
    entries: list[tuple[str, Any, Any]] = []
    for item in fields(settings):
        kind = hints[item.name] if hints[item.name] in PLAIN else Any
        default = MISSING if item.default is NO_DEFAULT else item.default
        entries.append((item.name, kind, field(default=default)))
    return make_dataclass(f"{settings.__name__}Config", entries, bases=bases)
