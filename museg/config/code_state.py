"""Which code runs: jobs that wait in a queue start with whatever the working tree holds by then."""

import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def code_state(clone: Path = ROOT) -> dict[str, Any]:
    """The commit of a clone, and whether tracked files differ from it; both None where git cannot tell."""
    command = ["git", "--no-optional-locks", "-C", str(clone), "describe", "--always", "--dirty", "--abbrev=40"]
    command += ["--exclude=*"]  # tags, which would be named in the commit's place
    try:
        described = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "is_dirty": None}
    return {"commit": described.removesuffix("-dirty"), "is_dirty": described.endswith("-dirty")}
