"""From checked settings to a finished run folder: train, draw the report, say where it is."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from museg.config.job import build_job
from museg.report.page import write_report
from museg.training.callbacks import Stopped
from museg.training.phased_module import NonFiniteStep
from museg.training.run import ColdStartFailed, train


def launch(settings: Mapping[str, Any], run_dir: Path) -> None:
    """Train in `run_dir` and write its report. What a user can mend ends with a message and a non-zero exit status."""
    try:
        train(build_job(settings), run_dir, settings["resume"])
    except Stopped as stopped:
        print(f"stopped by {stopped}; continue with: python train.py resume={run_dir} (and the same overrides)")
        sys.exit(stopped.exit_code)
    except (ValueError, NonFiniteStep, ColdStartFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    report = write_report(run_dir)
    print(f"report: {report.html}  pictures: {run_dir / 'figures'}  everything else: {run_dir}")
