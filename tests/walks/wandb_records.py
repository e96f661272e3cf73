"""What a run folder holds for W&B, as W&B's own reader (`wandb leet inspect`) prints it."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any


def fragments(run_dir: Path) -> list[Path]:
    """The files of records, one for each process that logged, oldest first."""
    return sorted(file for file in run_dir.glob("wandb/*run-*/*.wandb") if not file.parent.is_symlink())


def records(file: Path) -> list[dict[str, Any]]:
    """The records of one file; a file that breaks off is read up to there."""
    return _records(file, file.stat().st_size)


@cache
def _records(file: Path, num_bytes: int) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(file: Path, kind: str) -> list[dict[str, Any]]:
    """The contents of the records of one kind."""
    return [record[kind] for record in records(file) if record["type"] == kind]


def history(file: Path) -> list[dict[str, Any]]:
    """The logged rows; what belongs to a table or pictures stands under `key.part`."""
    return [row["item"] for row in of_kind(file, "history")]
