"""Waiting for another run, of the same sweep or not, whose model is to be the start of this one."""

import time
from pathlib import Path

from museg.error_files import error_files
from museg.training import processes
from museg.training.summary import SUMMARY_FILE

LOOK_EVERY_S = 1.0


def wait_until_finished(run_dir: Path, look_every_s: float = LOOK_EVERY_S) -> None:
    """Return when the run in `run_dir` has written its summary; the folder may still be missing.

    Raises:
        ValueError: there is no place where the run could be, or it failed.
    """
    if not run_dir.parent.is_dir():
        raise ValueError(f"start_after={run_dir}: no run can be there, as {run_dir.parent} is no folder")
    has_told = False
    while not (run_dir / SUMMARY_FILE).is_file():
        if errors := error_files(run_dir):
            raise ValueError(f"start_after={run_dir}: that run failed ({errors[0]} says why); mend it first")
        if not has_told and processes.is_first():
            print(f"waiting for {run_dir}, from which this run starts", flush=True)
        has_told = True
        time.sleep(look_every_s)
