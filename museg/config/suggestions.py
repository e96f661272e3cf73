"""What to type instead: why a configuration does not compose, plus the valid names and the closest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from hydra.errors import MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError

# Hydra proposes to append an unknown key with "+", which is right for open mappings and wrong for typed settings.
NOISE = ("To append to your config use", "Set the environment variable", "Config search path:", "\tprovider=")


def explain(error: Exception) -> str:
    """The message of a failed composition, with what would have been valid."""
    kept = [line for line in str(error).splitlines() if line.strip() and not line.startswith(NOISE)]
    return "\n".join([*kept, *_hints(error)])


def _hints(error: Exception) -> Iterator[str]:
    if isinstance(error, MissingConfigException):
        wanted = (error.missing_cfg_file or "").rpartition("/")[2]
        yield from closest(wanted, error.options or [])
    cause = _find_cause(error)
    if isinstance(cause, ValidationError):
        yield _several_settings(cause) or str(cause).splitlines()[0]
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and isinstance(cause.parent_node, DictConfig):
        yield from _unknown_key(cause)


def _several_settings(error: ValidationError) -> str:
    """What to set where a value was given for a group of settings; empty where none was."""
    group = error.parent_node.get(error.key) if isinstance(error.parent_node, DictConfig) else None
    keys = [str(key) for key in group if key != "_target_"] if isinstance(group, DictConfig) else []
    if not keys:
        return ""
    return f"{error.full_key} holds several settings ({', '.join(keys)}): write {error.full_key}.{keys[0]}=..."


def _find_cause(error: BaseException | None) -> OmegaConfBaseException | None:
    """The OmegaConf error behind a chain of others."""
    while error is not None:
        if isinstance(error, OmegaConfBaseException):
            return error
        error = error.__cause__
    return None


def _unknown_key(error: OmegaConfBaseException) -> Iterator[str]:
    parent, key, place = error.parent_node, str(error.key), str(error.full_key or error.key)
    prefix = place[: -len(key)]
    valid = [str(name) for name in parent if prefix or name != "hydra"]
    if valid:
        yield f"Valid keys{' of ' + prefix[:-1] if prefix else ''}: {', '.join(valid)}"
    match = next(closest(key, valid, prefix=prefix), None)
    if match:
        yield match
        return
    elsewhere = [path for path in _leaves(parent) if path.rpartition(".")[2] == key]
    if elsewhere:
        yield f"Did you mean {' or '.join(prefix + path for path in elsewhere)}?"
    elif "is not in struct" in str(error):
        yield f"To add an entry to this mapping, write +{place}=..."


def _leaves(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Dotted keys of every value below `node`; references and missing values are not followed."""
    for key in node:
        value = node._get_node(key)
        if isinstance(value, DictConfig) and not (value._is_none() or value._is_missing() or value._is_interpolation()):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def closest(word: str, options: Sequence[str], prefix: str = "") -> Iterator[str]:
    """Yield a sentence naming the option most like `word`, if one is."""
    matches = difflib.get_close_matches(word, options, n=1, cutoff=0.6)
    if matches:
        yield f"Did you mean {prefix}{matches[0]}?"
