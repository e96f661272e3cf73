"""From a composed configuration to plain, checked settings: all broken rules at once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from museg.config.evaluation_rules import EVALUATION_RULES
from museg.config.limits import KEY
from museg.config.reward_schema import typed_term
from museg.config.rules import MEMORY_RULES, TRAIN_RULES, Rules
from museg.config.violation import Violation
from museg.targets import TARGET, build, find_targets, is_allowed


class InvalidConfiguration(ValueError):
    """A configuration that composes but breaks rules; `violations` holds all of them."""

    def __init__(self, violations: list[Violation]) -> None:
        self.violations = violations
        count = f"{len(violations)} setting{'s' if len(violations) > 1 else ''}"
        super().__init__("\n".join([f"The configuration is not valid: {count} to change.", *map(str, violations)]))


def checked_settings(config: DictConfig) -> dict[str, Any]:
    """The checked settings of a training run; see `checked`.

    Those of a dry run may lack what only a real one needs: data, and packages that are not installed here.
    """
    if config.get("dry_run") is None:
        return checked(config, TRAIN_RULES)
    return checked(config, MEMORY_RULES, unneeded=("dataset", "logger"))


def checked_evaluation(config: DictConfig) -> dict[str, Any]:
    """The checked settings of an evaluation; see `checked`."""
    return checked(config, EVALUATION_RULES)


def checked(config: DictConfig, rules: Rules, unneeded: Sequence[str] = ()) -> dict[str, Any]:
    """Return the configuration as plain nested containers, resolved, with the defaults of every reward term filled in.

    Raises InvalidConfiguration with all violations: missing values, limits of single fields, terms of the reward,
    targets off the allow-list, rules across groups. Groups that are `unneeded` may have values missing.
    """
    violations = list(_beyond_limits(config))
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        place, reason = str(error.full_key or ""), str(error).splitlines()[0]
        raise InvalidConfiguration([*violations, Violation(place, f"refers to something else: {reason}")]) from error
    unset = [violation for violation in _unset(plain) if violation.place.partition(".")[0] not in unneeded]
    violations = [*unset, *violations, *_foreign_targets(plain), *_type_terms(plain)]
    incomplete = {violation.place.partition(".")[0] for violation in unset}
    complete_rules = [rule for rule, groups in rules.items() if incomplete.isdisjoint(groups)]
    violations += [violation for rule in complete_rules for violation in rule(plain)]
    if violations:
        raise InvalidConfiguration(violations)
    return plain


def _unset(node: Mapping[str, Any], place: str = "") -> Iterator[Violation]:
    for key, value in node.items():
        if value == MISSING:
            yield Violation(f"{place}{key}", "must be set, there is no default", None, f"add {place}{key}=...")
        elif isinstance(value, Mapping):
            yield from _unset(value, f"{place}{key}.")


def _beyond_limits(node: Any, place: str = "") -> Iterator[Violation]:
    """Walk typed nodes and check each value against the limit its schema states."""
    if not isinstance(node, DictConfig):
        return
    schema = OmegaConf.get_type(node)
    limits = {item.name: item.metadata.get(KEY) for item in fields(schema)} if is_dataclass(schema) else {}
    for key in node:
        here = f"{place}.{key}" if place else str(key)
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key) or node[key] is None:
            continue
        limit = limits.get(key)
        if limit is not None and not limit.admits(_plain(node[key])):
            yield Violation(here, f"must be {limit.rule}", _plain(node[key]))
        yield from _beyond_limits(node[key], here)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _foreign_targets(plain: Mapping[str, Any]) -> Iterator[Violation]:
    for place, target in find_targets(plain):
        if not is_allowed(target):
            rule = "only parts of museg and a few Lightning classes may be built"
            yield Violation(f"{place}.{TARGET}", rule, target, "see the lists in museg/targets.py")


def _type_terms(plain: dict[str, Any]) -> Iterator[Violation]:
    """Give every reward term its types and defaults, in place, and try the whole mix: it costs nothing to build."""
    reward = plain["reward"]
    if not isinstance(reward, Mapping):
        return  # not set, which is told elsewhere
    sound = True
    for name, term in reward["terms"].items():
        try:
            reward["terms"][name] = typed_term(term)
        except ValueError as error:
            sound = False
            yield Violation(f"reward.terms.{name}", str(error))
    if sound:
        try:
            build(reward)
        except ValueError as error:
            yield Violation("reward", str(error))
