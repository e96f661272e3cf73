"""Schemas of the reward terms, derived from the reward classes themselves: a new reward file needs no edit here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import museg.rewards
from museg.config.derived_schema import TargetConfig, derived_schema
from museg.rewards.base import Reward
from museg.targets import TARGET


def reward_classes() -> Iterator[type[Reward]]:
    """Every concrete reward defined in a module of `museg.rewards`, found by walking the package."""
    for module_info in pkgutil.iter_modules(museg.rewards.__path__):
        module = importlib.import_module(f"museg.rewards.{module_info.name}")
        for _, found in inspect.getmembers(module, inspect.isclass):
            own = found.__module__ == module.__name__ and issubclass(found, Reward)
            if own and is_dataclass(found) and not inspect.isabstract(found):
                yield found


@cache
def term_schemas() -> Mapping[str, type]:
    """Target name to schema, for every reward of the package."""
    return {
        f"{reward.__module__}.{reward.__qualname__}": derived_schema(reward, TargetConfig)
        for reward in reward_classes()
    }


def typed_term(term: Any) -> dict[str, Any]:
    """Return one term of a mix with its types checked and its defaults filled in.

    Raises ValueError naming the rule and what would be valid: no mapping, an unknown `_target_`, an unknown key, a
    value of another type, a value that must be set.
    """
    if not isinstance(term, Mapping) or TARGET not in term:
        raise ValueError(f"a term is a mapping with {TARGET}; found {term!r}")
    schema = term_schemas().get(term[TARGET])
    if schema is None:
        raise ValueError(f"{TARGET} must be one of {sorted(term_schemas())}; found {term[TARGET]!r}")
    try:
        return dict(OmegaConf.to_container(OmegaConf.merge(schema, dict(term)), throw_on_missing=True))  # type: ignore[arg-type]
    except OmegaConfBaseException as error:
        keys = [item.name for item in fields(schema) if item.name != TARGET]
        raise ValueError(f"{str(error).splitlines()[0]}; keys of {schema.__name__}: {keys}") from error
