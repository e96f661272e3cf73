"""What kind of method the settings name, by the class that they name for it."""

from collections.abc import Mapping
from typing import Any

from museg.targets import TARGET

Settings = Mapping[str, Any]


def has_heads(settings: Settings) -> bool:
    """Whether the method adds tokens to the model and heads beside it."""
    return settings["method"][TARGET].endswith("MecoModule")


def is_reinforced(settings: Settings) -> bool:
    """Whether the method samples completions and compares them."""
    return settings["method"][TARGET].endswith("MusegModule")


def is_supervised(settings: Settings) -> bool:
    """Whether the method learns given answers and nothing else."""
    return settings["method"][TARGET].endswith("SftModule")
