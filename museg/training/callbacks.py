"""What happens around a step, in this order: log it, evaluate, save, show, stop if asked to."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from museg.data.quarantine import Quarantine
from museg.training import processes
from museg.training.best_model import BEST_KEY, BestModel
from museg.training.checkpoints import write_checkpoint
from museg.training.held_out import Evaluation, HeldOutSet
from museg.training.job import TrainingJob
from museg.training.phased_module import PhasedModule
from museg.training.profile import Parts
from museg.training.run_log import RunLog
from museg.training.step_stream import StepStream
from museg.training.stopping import Asked, StopRequest
from museg.training.stopwatch import Stopwatch

MAX_EMPTY_STEPS = 10
"""Steps in a row without any readable clip after which a run gives up."""


class StepLogger(Callback):
    """Writes one `train` row per step to the run log, which the dashboards follow.

    What a checkpoint took is in the row after it: a row is on disk before the checkpoint that counts its step.
    """

    def __init__(
        self,
        run_log: RunLog | None,
        job: TrainingJob,
        quarantine: Quarantine,
        stream: StepStream,
        checkpointer: "Checkpointer",
    ) -> None:
        self.run_log, self.job, self.quarantine, self.stream = run_log, job, quarantine, stream
        self.checkpointer, self.watch, self.num_empty_steps = checkpointer, Stopwatch(), 0

    def on_train_batch_start(self, trainer: pl.Trainer, module: PhasedModule, batch: Any, batch_idx: int) -> None:
        self.watch = Stopwatch()

    def on_train_batch_end(self, trainer, module: PhasedModule, outputs, batch, batch_idx: int) -> None:
        step, phase = module.steps_done, self.job.schedule.locate(batch.global_step)[0].name
        with module.parts("logging"):
            processes.share_quarantine(self.quarantine)
            module.last_metrics = metrics = outputs["metrics"] | {
                "time/wait_s": self.stream.wait_s,
                "time/step_s": self.stream.wait_s + self.watch.lap_s(),
                "data/num_quarantined": float(len(self.quarantine)),
                **self.checkpointer.taken_timings(),
            }
            if trainer.is_global_zero:
                self.run_log.add(step, phase, "train", metrics, completions=outputs["completions"])
        self.refuse_to_train_on_nothing(metrics)

    def refuse_to_train_on_nothing(self, metrics: Mapping[str, float]) -> None:
        """Raise `ValueError` after several steps in a row without a readable clip."""
        self.num_empty_steps = 0 if metrics["data/num_prompts"] else self.num_empty_steps + 1
        if self.num_empty_steps == MAX_EMPTY_STEPS:
            raise ValueError(
                f"no clip of the last {MAX_EMPTY_STEPS} steps could be read; {self.quarantine.file} says why. Is the "
                "video root the right one?"
            )


class HeldOutEvaluator(Callback):
    """Evaluates at the start, every `validation.every_steps` steps and where a phase ends, whose answers it keeps.

    `best` is offered the policy after each look.
    """

    def __init__(
        self,
        held_out: HeldOutSet,
        run_log: RunLog,
        job: TrainingJob,
        run_dir: Path,
        start_name: str,
        best: BestModel | None = None,
    ) -> None:
        self.held_out, self.run_log, self.job, self.run_dir = held_out, run_log, job, run_dir
        self.start_name, self.best = start_name, best
        self.stage_ends = {end: name for name, end in job.schedule.ends().items()}
        self.latest: Evaluation | None = None

    def on_train_start(self, trainer: pl.Trainer, module: PhasedModule) -> None:
        if module.steps_done == 0:
            self.evaluate(trainer, module, self.start_name, stage=self.start_name)

    def on_train_batch_end(self, trainer, module: PhasedModule, outputs, batch, batch_idx: int) -> None:
        step, stage = module.steps_done, self.stage_ends.get(module.steps_done)
        if stage or step % self.job.validation.every_steps == 0:
            self.evaluate(trainer, module, self.job.schedule.locate(batch.global_step)[0].name, stage=stage)

    def evaluate(self, trainer: pl.Trainer, module: PhasedModule, phase: str, stage: str | None) -> None:
        """One `validation` row, and `predictions/<stage>.jsonl` where a stage of the run ends."""
        modes, watch = ("greedy", "sampled") if self.job.validation.sampled else ("greedy",), Stopwatch()
        with module.parts("validation"):
            evaluation = evaluate_held_out(trainer, module, self.held_out, modes)
        if not evaluation.predictions:  # nothing is held out: the released recipe trains on every row
            return
        self.latest = evaluation
        metrics = self.latest.metrics() | {"time/validation_s": watch.lap_s()}
        if trainer.is_global_zero:
            self.run_log.add(module.steps_done, phase, "validation", metrics)
            if stage:
                write_predictions(self.run_dir / "predictions" / f"{stage}.jsonl", self.latest)
        if self.best is not None:
            self.best.offer(module.steps_done, metrics[BEST_KEY])


def evaluate_held_out(
    trainer: pl.Trainer, module: PhasedModule, held_out: HeldOutSet, modes: Sequence[str]
) -> Evaluation:
    """Evaluate with dropout off and the trainer's precision, and put the module back into training."""
    module.eval()
    with module.weights.gathered(), trainer.precision_plugin.forward_context():
        evaluation = held_out.evaluate(module.policy, modes, module.features, module.reader)
    module.train()
    return evaluation


def write_predictions(file: Path, evaluation: Evaluation) -> None:
    """One JSON object per mode and example."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in evaluation.predictions)
    file.write_text("".join(lines), encoding="utf-8")


class Checkpointer(Callback):
    """Saves every `checkpoint.every_steps` steps, at the end of each fit, and when a signal asks for it."""

    def __init__(self, job: TrainingJob, run_dir: Path, stop: StopRequest) -> None:
        self.job, self.run_dir, self.stop = job, run_dir, stop
        self.timings: dict[str, float] = {}

    def on_train_batch_end(self, trainer, module: PhasedModule, outputs, batch, batch_idx: int) -> None:
        step = module.steps_done
        at_end, asked = step == self.job.schedule.fit_at(batch.global_step).end_step, self.stop.agree()
        if at_end or step % self.job.checkpoint.every_steps == 0 or asked:
            watch = Stopwatch()
            with module.parts("checkpoint"):
                write_checkpoint(self.run_dir, step, trainer.save_checkpoint, keep=self.job.checkpoint.keep)
            self.timings = {"time/checkpoint_s": watch.lap_s()}
        trainer.should_stop = trainer.should_stop or asked is Asked.STOP

    def taken_timings(self) -> dict[str, float]:
        """What the latest checkpoint took, told once."""
        taken, self.timings = self.timings, {}
        return taken


class StepClock(Callback):
    """Tells `parts` where a step ends; stands behind all others."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def on_train_start(self, trainer: pl.Trainer, module: PhasedModule) -> None:
        module.parts = self.parts
        self.parts.begin()

    def on_train_batch_end(self, trainer, module: PhasedModule, outputs, batch, batch_idx: int) -> None:
        self.parts.end_step()
