"""From checked settings to a finished run folder: train, draw the report, say where it is."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museg.config.exporting import write_own_card
from museg.config.failures import RunFailed, write_error
from museg.config.job import build_job
from museg.config.waiting import wait_until_finished
from museg.error_files import FolderTaken
from museg.report.page import write_report
from museg.targets import TARGET, read_run_config
from museg.training import processes
from museg.training.checkpoints import CONFIG_FILE, ROUNDS_OTHERWISE
from museg.training.cold_start_stage import ColdStartFailed
from museg.training.guarded_update import NonFiniteStep
from museg.training.run import train
from museg.training.stopping import Stopped, requeue


def launch(settings: Mapping[str, Any], run_dir: Path) -> None:
    """Train in `run_dir` and write its report, of an unfinished run too. Raises `RunFailed`.

    Of several processes that train this run the first one reports, also that the run was stopped. A run that SLURM is
    to continue ends here without a report.
    """
    try:
        if settings["start_after"] is not None:
            wait_until_finished(Path(settings["start_after"]))
        train(build_job(settings), run_dir, settings["resume"])
    except Stopped as stopped:
        requeue(stopped)
        if processes.is_first():
            write_report(run_dir)
            again = f"continue with: python train.py resume={shlex.quote(str(run_dir))}"
            raise RunFailed(f"stopped by {stopped}; {again}", stopped.exit_code) from None
    except (ValueError, NonFiniteStep, ColdStartFailed) as error:
        raise RunFailed(_complaint(error, run_dir), 1) from error
    else:
        if processes.is_first():
            write_own_card(run_dir, settings["phase"]["total_steps"])
            report = write_report(run_dir)
            print(f"report: {report.html}  pictures: {run_dir / 'figures'}  everything else: {run_dir}")


def _complaint(error: Exception, run_dir: Path) -> str:
    """The message for the terminal; where it arose goes to a file in the run folder, with the report so far."""
    place = "" if processes.is_first() else f"process {processes.rank()}: "
    if isinstance(error, FolderTaken) or not (processes.is_first() and run_dir.is_dir()):
        return f"{place}error: {error}"
    file = write_error(run_dir, error)
    if (run_dir / CONFIG_FILE).exists():
        write_report(run_dir)
    return f"error: {error}\n(where it arose: {file})"


def resumed_settings(settings: Mapping[str, Any], overrides: list[str]) -> Mapping[str, Any]:
    """The settings to run with: those the resumed folder recorded when `resume=FOLDER` is all that was asked for.

    `profile` may stand beside it, and what only rounds otherwise, such as the number of processes. A job that SLURM has
    started again continues what it began, without being told so. Raises RunFailed for a folder of an older version,
    which lacks settings of today.
    """
    resume, asked = settings["resume"], {override.partition("=")[0] for override in overrides}
    if resume is None and int(os.environ.get("SLURM_RESTART_COUNT") or 0) > 0:
        return settings | {"resume": "auto"}
    if resume in (None, "auto") or not asked <= {"resume", "profile", *ROUNDS_OTHERWISE}:
        return settings
    recorded = read_run_config(Path(resume) / CONFIG_FILE)
    if lacking := _lacking(recorded, settings):
        raise RunFailed(
            f"error: {resume} was begun by an older version, whose settings lack {', '.join(lacking)}: continue it "
            "with that version, or start a new run",
            exit_code=1,
        )
    resumed = recorded | {key: settings[key] for key in ("resume", "profile")}
    for group, _, key in (name.partition(".") for name in asked & ROUNDS_OTHERWISE):
        resumed[group] = resumed[group] | {key: settings[group][key]}
    return resumed


def _lacking(recorded: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Keys of today that `recorded` has not; groups whose keys depend on the option chosen are left out."""
    keys = [key for key in settings if key not in recorded]
    for group, node in settings.items():
        if group in recorded and isinstance(node, Mapping) and TARGET not in node and group != "logger":
            keys += [f"{group}.{key}" for key in node if key not in recorded[group]]
    return keys
