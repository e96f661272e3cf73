"""What an evaluation folder says about itself, apart from its scores: who answered, what was read, when, with what."""

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from museg.files import version_of, write_whole

IDENTITY_FILE, CONFIG_FILE = "evaluation.json", "config.yaml"
PACKAGES = ("museg", "torch", "transformers", "torchmetrics", "decord", "av", "sentence-transformers", "pycocoevalcap")


def write_config(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings, as they were resolved, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / CONFIG_FILE, yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True))


def write_identity(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `evaluation.json`: `facts`, the versions of what was used, and the time of writing."""
    written = {
        **facts,
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in PACKAGES},
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_whole(folder / IDENTITY_FILE, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def code_version() -> str:
    """The version of this package, with the commit where it runs from a clone."""
    here = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(here), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = ""
    return " ".join(filter(None, (version_of("museg"), commit)))
