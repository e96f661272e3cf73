"""What the members of a sweep differ in, read off their configurations."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from museg.report.tolerant import text_of

Settings = dict[str, str]
"""Name of a setting that varies -> its value in one member, whole: this is what members are told apart by."""

SEED, START = "seed", "start_after"
PLACES = ("dataset.root", "dataset.video_root", "cold_start.cache_dir", START)
WITHOUT_EFFECT = ("name", "resume", "profile", "logger", *PLACES)
"""Names and places: members that differ in nothing else are of one configuration."""
TARGET = "_target_"
MAX_NODES = 5_000
MAX_DEPTH = 20
"""Nodes read of one configuration, and how deep: a few lines of YAML can stand for more than a machine can list."""
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
    member, empty where the plan has no such member. A plan names settings as they were typed (`reward=maximum`), so
    it is followed where it tells apart exactly what the configurations do. Otherwise these speak for themselves, and of
    a member without a configuration nothing is known (None).
    """
    found = _in_configs(configs)
    if plans and all(plans):
        planned = _in_plans(plans)
        if _explains(planned, found):
            return list(planned)
    return found


def _in_plans(plans: Sequence[Mapping[str, str]]) -> list[Settings]:
    """What varies of the settings that were typed for every member; several plans need not have typed the same."""
    names = [name for name in plans[0] if all(name in plan for plan in plans) and not _is_left_out(name)]
    varying = [name for name in names if len({plan[name] for plan in plans}) > 1]
    return [{name: plan[name] for name in varying} for plan in plans]


def _explains(planned: Sequence[Settings], found: Sequence[Settings | None]) -> bool:
    """Whether two members have the same settings by the plan exactly where their configurations agree."""
    known = [(plan, settings) for plan, settings in zip(planned, found, strict=True) if settings is not None]
    pairs = {(tuple(plan.values()), tuple(settings.values())) for plan, settings in known}
    return len(pairs) == len({plan for plan, _ in pairs}) == len({settings for _, settings in pairs})


def _in_configs(configs: Sequence[Mapping[str, Any]]) -> list[Settings | None]:
    flats = [_beside_its_start(flattened(config)) if config else None for config in configs]
    known = [flat for flat in flats if flat is not None]
    names = {name for flat in known for name in flat if not _is_left_out(name)}
    of_seed = {name for name in names if name.endswith(f".{SEED}")}  # such as the model's, where a member has one
    names -= {name for name in of_seed if all(flat.get(name) in (None, flat.get(SEED)) for flat in known)}
    differing = sorted(name for name in names if len({flat.get(name) for flat in known}) > 1)
    columns = {name: _column(name, known) for name in _shown_names(differing, known)}
    seeds = tuple(flat.get(SEED) for flat in known)
    shortest: dict[tuple[str, tuple[str, ...]], str] = {}
    for name in sorted((name for name in columns if columns[name] != seeds), key=lambda name: (len(name), name)):
        # A longer name of the same group with the same values refers to the shorter one, as to ${phase.steps}.
        shortest.setdefault((name.partition(".")[0], columns[name]), name)
    kept = sorted(shortest.values())
    told = iter([{name: columns[name][place] for name in kept} for place in range(len(known))])
    return [None if flat is None else next(told) for flat in flats]


def _beside_its_start(flat: Mapping[str, str]) -> dict[str, str]:
    """The same with the folder of the run that it starts from as a word: members of other seeds start from others."""
    start = flat.get(START)
    return {name: text.replace(start, START) if start else text for name, text in flat.items()}


def _is_left_out(name: str) -> bool:
    return name == SEED or any(name == known or name.startswith(f"{known}.") for known in WITHOUT_EFFECT)


def _nodes_of(flat: Mapping[str, str]) -> set[str]:
    """Every value's name and those of all that it belongs to."""
    return {".".join(parts[: n + 1]) for parts in (name.split(".") for name in flat) for n in range(len(parts))}


def _shown_names(differing: Sequence[str], flats: Sequence[Mapping[str, str]]) -> list[str]:
    """Each setting itself, or what it belongs to: the outermost node that a member lacks, or whose class differs."""
    nodes = [_nodes_of(flat) for flat in flats]
    shared = set.intersection(*nodes) if nodes else set()
    shown: dict[str, None] = {}
    for name in differing:
        parts = name.split(".")
        holders = [".".join(parts[: n + 1]) for n in range(len(parts) - 1)]
        lacked = next((node for node in holders if node not in shared), None)
        shown[lacked or name.removesuffix(f".{TARGET}")] = None
        is_hidden = lacked and not name.endswith(TARGET) and any(f"{lacked}.{TARGET}" in flat for flat in flats)
        if is_hidden and len({flat[name] for flat in flats if name in flat}) > 1:
            shown[name] = None  # members that have the node differ within it, where its class says nothing of that
    return list(shown)


def _column(name: str, flats: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """A setting's value in every member; of classes the name alone, where that tells them apart."""
    whole = [_value(name, flat) for flat in flats]
    built = [flat[f"{name}.{TARGET}"] for flat in flats if f"{name}.{TARGET}" in flat]
    names = {target: target.rpartition(".")[2] for target in built}
    are_unlike = len(set(names.values())) == len(names)
    return tuple(names.get(value, value) for value in whole) if are_unlike else tuple(whole)


def _value(name: str, flat: Mapping[str, str]) -> str:
    """A setting's value in one member: a text, the class of what is built, or everything below it."""
    if name in flat or f"{name}.{TARGET}" in flat:
        return flat.get(name, flat.get(f"{name}.{TARGET}", ABSENT))
    below = [f"{key.removeprefix(f'{name}.')}={flat[key]}" for key in flat if key.startswith(f"{name}.")]
    return " ".join(sorted(below)) or ABSENT
