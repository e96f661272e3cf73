"""Progress on the terminal: one line that says where the run is and how well it does."""

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from museg.training.callbacks import HeldOutEvaluator
from museg.training.job import TrainingJob

PLAIN_EVERY_STEPS = 25
"""Where the output is a file, a line is printed this often instead of a moving bar."""


class ProgressLine:
    """A rich progress bar on a terminal, now and then a plain line elsewhere (a log file, a SLURM output)."""

    def __init__(self, title: str, total_steps: int, console: Console | None = None) -> None:
        self.console = console or Console()
        self.title, self.total_steps = title, total_steps
        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, console=self.console) if self.console.is_terminal else None
        self.task: Any = None

    def show(self, step: int, state: str, *, now: bool = False) -> None:
        """Show `step` finished steps and a short text; `now` prints a plain line whatever the step."""
        if self.bar is None:
            if now or step % PLAIN_EVERY_STEPS == 0:
                self.console.print(f"{self.title} {step}/{self.total_steps}  {state}", highlight=False, soft_wrap=True)
            return
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task(self.title, total=self.total_steps, state="")
        self.bar.update(self.task, description=self.title, completed=step, state=state)

    def close(self) -> None:
        """Leave the bar as it is and give the terminal back."""
        if self.bar is not None:
            self.bar.stop()


class ProgressBar(Callback):
    """Shows phase, reward, rollout and held-out mean IoU, and seconds per step."""

    def __init__(self, job: TrainingJob, evaluator: HeldOutEvaluator) -> None:
        self.job, self.evaluator = job, evaluator
        self.line: ProgressLine | None = None

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            phase = self.job.schedule.locate(module.steps_done)[0].name
            self.line = ProgressLine(f"phase {phase}", self.job.schedule.total_steps)
            self.line.show(module.steps_done, self._held_out(), now=True)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx: int) -> None:
        if self.line is not None:
            with module.parts("logging"):
                self.line.title = f"phase {self.job.schedule.locate(batch.global_step)[0].name}"
                self.line.show(module.steps_done, describe_step(module.last_metrics) + self._held_out())

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.line is not None:
            self.line.close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        if self.line is not None:
            self.line.close()

    def _held_out(self) -> str:
        latest = self.evaluator.latest
        if latest is None:
            return ""
        return "held-out mIoU " + " / ".join(f"{s['mean_iou']:.3f} {mode}" for mode, s in latest.scores.items())


def describe_step(metrics: Mapping[str, float]) -> str:
    """A few words on one step; what was not measured is left out."""
    shown = (
        ("reward", "reward/total", ".3f"),
        ("mIoU", "train/mean_iou", ".3f"),
        ("loss", "loss/total", ".3f"),
        ("s/step", "time/step_s", ".2f"),
    )
    unreadable = int(metrics.get("data/num_quarantined", 0))
    warning = f"{unreadable} unreadable clips  " if unreadable else ""
    return warning + "".join(f"{label} {metrics[key]:{form}}  " for label, key, form in shown if key in metrics)
