"""The model that answered the held-out clips best, kept as an ordinary Hugging Face folder in the run folder."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from museg.metrics.keys import held_out_key
from museg.training import processes
from museg.training.run_log import RunLog

BEST = "best"
RECORD_FILE = "best.json"
BEST_KEY = held_out_key("greedy", "mean_iou")
"""What best means: the mean IoU of greedy answers to held-out clips. Of equal ones the earliest stays."""


class BestModel:
    """Keeps `best/`: what `write` puts into a folder, its step and its score. All processes make the same calls."""

    def __init__(self, run_dir: Path, log: RunLog | None, write: Callable[[Path], None]) -> None:
        self.run_dir, self.write = run_dir, write
        self.score = processes.on_first(lambda: best_so_far(log))

    def offer(self, step: int, score: float) -> None:
        """Keep the model as it is if it is better than all before."""
        if score > self.score:
            self.score = score
            processes.on_first(lambda: self.keep(step))

    def keep(self, step: int) -> None:
        """Put the model in the place of the best one; a kill leaves the old folder, the new one, or none."""
        folder, temporary = self.run_dir / BEST, self.run_dir / f".{BEST}"
        shutil.rmtree(temporary, ignore_errors=True)
        self.write(temporary)
        record = json.dumps({"step": step, BEST_KEY: self.score}, indent=2)
        (temporary / RECORD_FILE).write_text(record, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(temporary, folder)


def best_so_far(log: RunLog) -> float:
    """The best score in the log, which a resumed run has up to its checkpoint; minus infinity where there is none."""
    scores = [float(row[BEST_KEY]) for row in log.rows() if row["kind"] == "validation" and row[BEST_KEY]]
    return max(scores, default=float("-inf"))
