"""Beginning a W&B run, or going on in it: its name, whether it is uploaded, its axes, and what it holds already."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museg.metrics.keys import (
    COLD_START_COLUMNS,
    COLD_START_STEP_KEY,
    COMPLETIONS_KEY,
    PHASE_KEY,
    STEP_KEY,
    TIMELINES_KEY,
    columns,
)

if TYPE_CHECKING:
    import wandb

ID_FILE = "wandb_id.txt"
FRAGMENTS = "wandb/*run-*/run-*.wandb"
"""Below the run folder: the records of every process that logged, whether they are uploaded at once or not."""
REFUSALS = re.compile(r'not logged in|permission denied|returned error 4\d\d.*"path":', re.DOTALL)
"""What W&B says where it answered and refused: its own answers name the `path` of the question that they are about.

Everything else, a proxy's answer among it, means that W&B was not reached."""


def open_run(folder: Path, offline: bool | None, **about: Any) -> "wandb.Run":
    """Begin the W&B run of a run folder, or go on in it, and say in one line where it is to be seen.

    Where `offline` is None and W&B cannot be reached, as on many compute nodes, the run is logged offline.
    """
    import wandb
    from wandb.errors import AuthenticationError, CommError, Error

    try:
        mode, why = mode_of(offline)
        try:
            run = init(folder, mode, about)
        except CommError as error:
            is_refused = isinstance(error, AuthenticationError) or REFUSALS.search(str(error))
            if is_refused or offline is not None or mode != "online":
                raise
            why = f"cannot be reached ({_one_line(error)}), so this run is logged offline"
            wandb.teardown()  # its service would go on holding the id
            run = init(folder, "offline", about)
    except (Error, ValueError) as error:
        raise ValueError(
            f"W&B did not start: {_one_line(error)} Change logger.wandb (conf/logger/wandb.yaml explains each key; "
            "offline=true needs no network), or leave logger=wandb out: metrics.csv and report.html hold the same."
        ) from error
    later = f"; upload it with: wandb sync {folder / 'wandb'}" if run.offline else ""
    print(f"W&B: {why or run.url}{later}", flush=True)
    return run


def init(folder: Path, mode: str, about: Mapping[str, Any]) -> "wandb.Run":
    """`wandb.init` under the folder's own id."""
    import wandb

    settings = wandb.Settings(silent=mode == "offline")
    return wandb.init(dir=str(folder), id=run_id(folder), resume="allow", mode=mode, settings=settings, **about)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def mode_of(offline: bool | None) -> tuple[str, str]:
    """W&B's mode, and a few words of why where it is not online.

    None leaves it to WANDB_MODE and `wandb offline`, and where these say nothing else to whether there are credentials.
    Raises `ValueError` when an online run was asked for and is not possible.
    """
    import wandb

    if offline:
        return "offline", "logged offline"
    asked = wandb.setup().settings.mode
    if asked != "online":
        if offline is False:
            raise ValueError(f"logger.wandb.offline=false, but WANDB_MODE (or `wandb offline`) asks for {asked}.")
        return asked, f"{asked}, as WANDB_MODE or `wandb offline` asks for"
    if wandb.login(prompt=False, verify=False):
        return "online", ""
    if offline is False:
        raise ValueError("logger.wandb.offline=false, but there is no API key: run `wandb login` or set WANDB_API_KEY.")
    return "offline", "no API key (wandb login, or WANDB_API_KEY), so this run is logged offline"


def run_id(folder: Path) -> str:
    """The name under which W&B knows this run folder, made up at its first use."""
    file = folder / ID_FILE
    if not file.exists():
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return file.read_text(encoding="utf-8")


def define_axes(run: "wandb.Run") -> None:
    """Our step is the x-axis of everything; the cold start, which lies before step 0, has an axis of its own."""
    run.define_metric(STEP_KEY, hidden=True)
    run.define_metric(COLD_START_STEP_KEY, hidden=True)
    families = dict.fromkeys(f"{key.partition('/')[0]}/*" for key in columns([]))
    for key in (*families, PHASE_KEY, COMPLETIONS_KEY, TIMELINES_KEY):
        run.define_metric(key, step_metric=STEP_KEY)
    for key in COLD_START_COLUMNS:
        run.define_metric(key, step_metric=COLD_START_STEP_KEY)


def num_rows_on_disk(folder: Path) -> int:
    """How many rows the records below a run folder hold, as W&B's own reader finds them; they may break off."""
    fragments = [file for file in folder.glob(FRAGMENTS) if not file.parent.is_symlink() and file.stat().st_size]
    return max((last_row(file) + 1 for file in fragments), default=0)


def last_row(file: Path) -> int:
    """The number of the last row in one file of records, -1 where there is none."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    last = -1
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as reader:
        for line in reader.stdout:
            record = json.loads(line)
            if record["type"] == "history":
                last = max(last, record["history"]["item"]["_step"])
    return last
