"""A callback for sweeps that are meant to be read as one table: it is printed when the last member is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class SweepReport(Callback):
    """Writes a sweep's report at its end, also of one whose members failed in part, and prints the headline."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Say what the page says in short; a report that cannot be written leaves the sweep as it is."""
        from museg.report.sweep_page import write_sweep_report  # loads what draws

        folder = Path(config.hydra.sweep.dir)
        try:
            written = write_sweep_report(folder)
        except (ValueError, OSError) as problem:
            print(f"no report written: {problem}", file=sys.stderr)
            return
        print(written.table)
        print(f"report   {written.html}")
