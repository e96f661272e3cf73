"""Finished evaluations side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def compare(settings: Mapping[str, Any], output: Path) -> None:
    raise ValueError("not yet")
