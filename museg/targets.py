"""Configurations as plain data: which `_target_` may be constructed, how, and how a run's settings are read back.

A configuration read back from a run folder is data written by somebody else. Only names on the allow-list below are
ever imported, so that such a file cannot make a program call an arbitrary function.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

TARGET = "_target_"
ALLOWED_PACKAGES = ("museg.data.", "museg.policy.", "museg.rewards.", "museg.training.", "museg.video.")
ALLOWED_FOREIGN = frozenset(
    {
        "lightning.pytorch.loggers.TensorBoardLogger",
        "lightning.pytorch.strategies.DeepSpeedStrategy",
        "lightning.pytorch.strategies.ModelParallelStrategy",
    }
)


def is_allowed(target: object) -> bool:
    """Whether a configuration may construct `target`: a public name in the packages above, or one of the short list."""
    if not isinstance(target, str):
        return False
    if target in ALLOWED_FOREIGN:
        return True
    public = all(part.isidentifier() and not part.startswith("_") for part in target.split("."))
    return public and target.startswith(ALLOWED_PACKAGES)


def find_targets(node: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield (dotted place, `_target_` value) for every target in a nested container, outermost first."""
    if isinstance(node, Mapping):
        if TARGET in node:
            yield path, node[TARGET]
        for key, value in node.items():
            yield from find_targets(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from find_targets(value, f"{path}[{index}]")


def check_targets(node: Any) -> None:
    """Raise ValueError naming every target in `node` that is not on the allow-list."""
    refused = [f"{path or '<root>'}: {target!r}" for path, target in find_targets(node) if not is_allowed(target)]
    if refused:
        raise ValueError(
            f"a configuration may only construct names that start with one of {list(ALLOWED_PACKAGES)} or are one of "
            f"{sorted(ALLOWED_FOREIGN)}; refused: {'; '.join(refused)}"
        )


def locate(target: str) -> Any:
    """Import and return what the allowed dotted name `target` stands for: a public name defined by its own module.

    Raises ValueError when the name is not allowed, does not exist, or reaches through a module to a foreign object
    (`museg.targets.importlib` is no way around the list).
    """
    check_targets({TARGET: target})
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and not module_name.startswith(error.name):
            raise  # the module exists; something that it needs is not installed
        raise ValueError(f"_target_ {target!r} does not exist: {error}") from error
    if not callable(found) or (target not in ALLOWED_FOREIGN and getattr(found, "__module__", None) != module_name):
        raise ValueError(f"_target_ {target!r} must be a class or function defined in {module_name}")
    return found


def build(node: Mapping[str, Any], **extra: Any) -> Any:
    """Construct what `node` describes: its `_target_` called with its other entries, those nested in it first.

    `extra` are arguments known only while running (a run folder, a seed); they win over entries of the same name.
    Raises ValueError when there is no target, or one that is not on the allow-list.
    """
    if TARGET not in node:
        raise ValueError(f"cannot construct a mapping without {TARGET!r}; its keys are {sorted(map(str, node))}")
    check_targets(node)
    arguments = {str(key): _build_nested(value) for key, value in node.items() if key != TARGET and key not in extra}
    return locate(node[TARGET])(**arguments, **extra)


def _build_nested(value: Any) -> Any:
    if isinstance(value, Mapping):
        return build(value) if TARGET in value else {key: _build_nested(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_build_nested(item) for item in value]
    return value


def read_run_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a run folder as data: nothing is resolved, and every target is checked.

    Raises ValueError when the file is no mapping, holds an interpolation `${...}`, or names a target off the list.
    """
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(config, dict):
        raise ValueError(f"{path}: a run's configuration must be a mapping, found {type(config).__name__}")
    unresolved = [place for place, text in _texts(config) if "${" in text]
    if unresolved:
        raise ValueError(f"{path}: a run's configuration is resolved, yet these still refer elsewhere: {unresolved}")
    try:
        check_targets(config)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return config


def _texts(node: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _texts(value, f"{path}[{index}]")
    elif isinstance(node, str):
        yield path, node
