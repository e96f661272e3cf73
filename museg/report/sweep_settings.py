"""What the members of a sweep differ in, read off their configurations."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from museg.report.tolerant import clip, text_of

Settings = dict[str, str]
"""Name of a setting that varies -> its value in one member, as people read it."""

SEED = "seed"
WITHOUT_EFFECT = ("name", "resume", "profile", "logger", "dataset.root", "dataset.video_root", "cold_start.cache_dir")
"""Names and places: members that differ in nothing else are of one configuration."""
TARGET = "_target_"
MAX_NODES = 5_000
MAX_DEPTH = 20
"""Nodes read of one configuration, and how deep: a few lines of YAML can stand for more than a machine can list."""
MAX_NAMES = 50
"""Settings looked at of those that differ."""
MAX_CHARS = 80
"""Of a name or a value."""
ABSENT = "–"


def flattened(config: Mapping[str, Any]) -> dict[str, str]:
    """Dotted name -> text of the values of the first `MAX_NODES` nodes; places in lists are numbered from 0."""
    flat: dict[str, str] = {}
    waiting: list[tuple[str, Any]] = [("", config)]
    for _ in range(MAX_NODES):
        if not waiting:
            break
        name, node = waiting.pop()
        if name.count(".") > MAX_DEPTH:
            continue
        if isinstance(node, Mapping):
            waiting += [
                (f"{name}.{text_of(key)}".removeprefix("."), item) for key, item in islice(node.items(), MAX_NODES)
            ]
        elif isinstance(node, list):
            waiting += [(f"{name}.{place}", item) for place, item in islice(enumerate(node), MAX_NODES)]
        else:
            flat[name] = text_of(node)
    return flat


def varied(configs: Sequence[Mapping[str, Any]], plans: Sequence[Mapping[str, str]]) -> list[Settings | None]:
    """For every member the settings that vary between them, under the same names in the same order.

    configs: each member's configuration, empty where it has none. plans: what the sweep's plan overrides in each
    member, empty where the plan has no such member. The plan names settings as they were typed (`reward=maximum`), so
    it is followed where it explains every difference between the configurations. Otherwise these speak for themselves,
    and of a member without a configuration nothing is known (None).
    """
    found = _in_configs(configs)
    if plans and all(plans):
        planned = _in_plans(plans)
        if _explains(planned, found):
            return list(planned)
    return found


def _in_plans(plans: Sequence[Mapping[str, str]]) -> list[Settings]:
    names = [name for name in dict.fromkeys(name for plan in plans for name in plan) if not _is_left_out(name)]
    varying = [name for name in names if len({plan.get(name) for plan in plans}) > 1]
    return [{_brief(name): _brief(plan.get(name, "")) for name in varying} for plan in plans]


def _explains(planned: Sequence[Settings], found: Sequence[Settings | None]) -> bool:
    """Whether members that the plan gives the same settings have the same ones in their configurations."""
    known: dict[tuple[str, ...], Settings] = {}
    pairs = [(plan, settings) for plan, settings in zip(planned, found, strict=True) if settings is not None]
    return all(known.setdefault(tuple(plan.values()), settings) == settings for plan, settings in pairs)


def _in_configs(configs: Sequence[Mapping[str, Any]]) -> list[Settings | None]:
    flats = [flattened(config) if config else None for config in configs]
    known = [flat for flat in flats if flat is not None]
    names = {name for flat in known for name in flat if not _is_left_out(name)}
    differing = sorted(name for name in names if len({flat.get(name) for flat in known}) > 1)
    nodes = [_nodes_of(flat) for flat in known]
    columns = {name: tuple(_value(name, flat) for flat in known) for name in _shown_names(differing, nodes)}
    seeds = tuple(flat.get(SEED) for flat in known)
    shortest: dict[tuple[str, tuple[str, ...]], str] = {}
    for name in sorted((name for name in columns if columns[name] != seeds), key=lambda name: (len(name), name)):
        # A longer name of the same group with the same values refers to the shorter one, as to ${phase.steps}.
        shortest.setdefault((name.partition(".")[0], columns[name]), name)
    kept = sorted(shortest.values())
    return [{_brief(name): _value(name, flat) for name in kept} if flat is not None else None for flat in flats]


def _is_left_out(name: str) -> bool:
    return name == SEED or any(name == known or name.startswith(f"{known}.") for known in WITHOUT_EFFECT)


def _nodes_of(flat: Mapping[str, str]) -> set[str]:
    """Every value's name and those of all that it belongs to."""
    return {".".join(parts[: n + 1]) for parts in (name.split(".") for name in flat) for n in range(len(parts))}


def _shown_names(differing: Sequence[str], nodes: Sequence[set[str]]) -> list[str]:
    """Each setting itself, or what it belongs to: the outermost node that a member lacks, or whose class differs."""
    shown: dict[str, None] = {}
    for name in differing[:MAX_NAMES]:
        parts = name.split(".")
        holders = [".".join(parts[: n + 1]) for n in range(len(parts) - 1)]
        lacked = [node for node in holders if not all(node in present for present in nodes)]
        shown[lacked[0] if lacked else name.removesuffix(f".{TARGET}")] = None
    return list(shown)


def _value(name: str, flat: Mapping[str, str]) -> str:
    """A setting's value in one member: a text, the class of what is built, or everything below it."""
    if name in flat:
        return _brief(flat[name])
    if target := flat.get(f"{name}.{TARGET}"):
        return _brief(target.rpartition(".")[2])
    below = [f"{key.removeprefix(f'{name}.')}={flat[key]}" for key in flat if key.startswith(f"{name}.")]
    return _brief(" ".join(sorted(below)))


def _brief(text: str) -> str:
    """One short line."""
    return clip(" ".join(text.split()), MAX_CHARS) or ABSENT
