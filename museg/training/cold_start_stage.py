"""The cold start as the first stage of a run: found in the cache or trained, logged, and recorded in the run folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from museg.data.clips import ClipLoader
from museg.data.dataset import GroundingData
from museg.data.examples import GroundingExample
from museg.metrics.keys import held_out_key
from museg.phases.batches import by_step, derive_seed
from museg.policy.loading import Policy
from museg.training import processes
from museg.training.cold_start import (
    ColdStartModule,
    ColdStartRecord,
    load_cached,
    one_at_a_time,
    run_cold_start,
    save_cached,
)
from museg.training.held_out import HeldOutSet
from museg.training.job import TrainingJob
from museg.training.progress import ProgressLine
from museg.training.run_log import RunLog
from museg.training.step_stream import StepStream
from museg.training.stopping import StopListener, StopRequest
from museg.training.trainers import lightning_trainer

STAGE = "cold_start"
FILE = "cold_start.json"


class ColdStartFailed(RuntimeError):
    """The supervised start did not reach its target in the steps it had."""


def recorded_cold_start(run_dir: Path) -> ColdStartRecord | None:
    """How the cold start of a resumed run went; None where it had none."""
    file = run_dir / FILE
    return ColdStartRecord(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


@dataclass(frozen=True)
class ColdStartStage:
    """What a run has when it sets out; `log` is None in all processes but the first."""

    job: TrainingJob
    run_dir: Path
    policy: Policy
    data: GroundingData
    clips: ClipLoader
    held_out: HeldOutSet
    log: RunLog | None
    stop: StopRequest

    def bring(self) -> ColdStartRecord:
        """Bring the policy to where reinforcement can begin; its curve becomes the first rows of the log.

        Raises `ColdStartFailed` where that took more steps than there were.
        """
        with one_at_a_time(self.job):
            record = load_cached(self.job, self.policy)
            if record is None:
                record = self.train()
                processes.on_first(lambda: save_cached(self.job, self.policy, record))
            elif self.log is not None:
                for point in record.curve:
                    self.log_point(point)
        if self.log is not None:
            (self.run_dir / FILE).write_text(json.dumps(record.__dict__, indent=2), encoding="utf-8")
        if not record.reached_target:
            raise ColdStartFailed(
                f"the cold start gave up after {record.steps} supervised steps: {record.stopped_because}. "
                "Reinforcement sharpens answers that are sometimes right and cannot start from here. "
                "Raise cold_start.max_steps, lower cold_start.target_mean_iou, or try another seed."
            )
        return record

    def train(self) -> ColdStartRecord:
        """Supervised training with its own counter and optimizers; its steps lie before 0."""
        job, settings, seed = self.job, self.job.cold_start, derive_seed(self.job.seed, "cold_start")
        sizes = [len(file) for file in self.data.files]

        def examples_of(step: int) -> list[GroundingExample]:
            refs = by_step(step + settings.max_steps, prompts_per_step=settings.batch_size, file_sizes=sizes, seed=seed)
            return [self.data.files[ref.file][ref.row] for ref in refs]

        line = ProgressLine("cold start", settings.max_steps)

        def show(point: Mapping[str, float]) -> None:
            if not processes.is_first():
                return
            score = f"  held-out mIoU {point['mean_iou']:.3f}" if "mean_iou" in point else ""
            if score:
                self.log_point(point)
            line.show(int(point["step"]), f"loss {point['loss']:.3f}{score}", now=bool(score))

        held_out = self.held_out.first(settings.num_eval_examples)
        module = ColdStartModule(self.policy, job, held_out, self.stop, show)
        stream = StepStream(self.clips, examples_of, -settings.max_steps, 0)
        trainer = lightning_trainer(job, self.run_dir, [StopListener(self.stop)], is_sharded=False)
        try:
            return run_cold_start(trainer, module, stream)
        finally:
            line.close()

    def log_point(self, point: Mapping[str, float]) -> None:
        """One row of the curve."""
        metrics = {"loss/total": point["loss"], held_out_key("greedy", "mean_iou"): point["mean_iou"]}
        self.log.add(0, STAGE, STAGE, metrics, cold_start_step=int(point["step"]))
