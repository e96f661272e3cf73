"""Whose folder is it: an evaluation goes on in its own folder and never mixes its files with those of another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from museg.config.evaluation_rules import SOURCES
from museg.evaluation.run_folder import CONFIG_FILE


def claim(output: Path, settings: Mapping[str, Any]) -> None:
    """Raise ValueError where `output` holds something else than an earlier go at what `settings` ask for."""
    held, wanted = _held_by(output), _purpose(settings)
    if held is not None and held != wanted:
        raise ValueError(
            f"output={output} holds {held} already, and this is {wanted}: choose another folder, or delete that one"
        )


def _held_by(output: Path) -> str | None:
    """What the folder was used for; None for a folder that is not there or holds nothing of ours."""
    file = output / CONFIG_FILE
    if file.is_file():
        try:
            return _purpose(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, StopIteration):
            return "something that is no evaluation"
    return None


def _purpose(settings: Mapping[str, Any]) -> str:
    """In words, what an evaluation with these settings does."""
    source = next(name for name in SOURCES if settings[name] is not None)
    if source in ("completions", "compare"):
        return {"completions": "scores of completions", "compare": "a comparison"}[source]
    name = settings["benchmark"]["name"]
    return f"an evaluation of a checkpoint on {name}" if source == "checkpoint" else f"scores of a file on {name}"
