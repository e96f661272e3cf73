"""Schemas read off a settings dataclass that is cheap to import, so that its fields are declared once."""

from __future__ import annotations

from dataclasses import MISSING as NO_DEFAULT
from dataclasses import field, fields, make_dataclass
from typing import Any, get_type_hints

from omegaconf import MISSING

from museg.targets import TARGET

PLAIN = (bool, int, float, str, int | None, float | None, str | None)
"""Types that a schema can check; a field of any other type takes anything."""


def derived_schema(settings: type, base: type = object) -> type:
    """A dataclass with the fields, types and defaults of `settings`, and those of the schema `base` before them.

    Without a base it also has a `_target_` that names `settings` itself.
    """
    hints = get_type_hints(settings)
    entries: list[tuple[str, Any, Any]] = []
    if base is object:
        entries.append((TARGET, str, field(default=target_of(settings))))
    for item in fields(settings):
        kind = hints[item.name] if hints[item.name] in PLAIN else Any
        default = MISSING if item.default is NO_DEFAULT else item.default
        entries.append((item.name, kind, field(default=default)))
    return make_dataclass(f"{settings.__name__}Config", entries, bases=() if base is object else (base,))


def target_of(thing: type) -> str:
    """The dotted name under which a configuration refers to `thing`."""
    return f"{thing.__module__}.{thing.__qualname__}"
