"""A whole run: cold start, the fits of the phase schedule with restarts between them, export, summary, report.

A fit is what one optimizer trains. Its starting weights are written once to `reference/<fit>/`: they are the reference
of the fit's KL term, and a fit that is continued after a kill finds its reference there.
"""

import gc
import json
import random
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from museg.data.clips import ClipLoader
from museg.data.examples import GroundingExample
from museg.data.frame_cache import frame_reader
from museg.data.step_sampler import StepSampler
from museg.files import sha256_of
from museg.metrics.keys import columns, held_out_key
from museg.phases.batches import by_step, derive_seed
from museg.phases.schedule import Fit
from museg.policy.adapter import load_trained, merged
from museg.policy.compiled_parts import compile_parts
from museg.policy.export import export
from museg.policy.loading import EXPORTED
from museg.policy.reference import WEIGHTS_FILE, reference_of
from museg.training import processes
from museg.training.base_model import put_adapter_on
from museg.training.best_model import BestModel
from museg.training.callbacks import Checkpointer, HeldOutEvaluator, StepClock, StepLogger
from museg.training.checkpoints import Checkpoint, complete_checkpoints, open_run_folder, part_of
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
from museg.training.mirrors import shown
from museg.training.phased_module import Stopwatch
from museg.training.profile import Parts, profiled
from museg.training.progress import ProgressBar, ProgressLine
from museg.training.run_log import RunLog
from museg.training.sharding import let_go_after, shards_weights
from museg.training.step_stream import StepStream
from museg.training.stopping import StopListener, StopRequest
from museg.training.summary import finished_summary, training_s, write_summary
from museg.training.trained_parts import train_parts
from museg.training.trainers import lightning_trainer, long_lived, meeting_trainer, torch_threads
from museg.training.universal import readable

COLD_START_FILE = "cold_start.json"
QUARANTINE_FILE = "quarantine.jsonl"
BEFORE_TRAINING = -1
"""Step under which the held-out clips are decoded: any below 0 belongs to no reinforcement step."""


class ColdStartFailed(RuntimeError):
    """The supervised start did not reach its target in the steps it had."""


def train(job: TrainingJob, run_dir: Path, resume: str | None = None) -> dict[str, Any]:
    """Train `job` in `run_dir`; returns the content of `summary.json`.

    Several processes train one run, in the folder of the first. Raises `ValueError` when the folder may not be used so,
    and `Stopped` when a signal ended the run early (the folder can then be continued with `resume="auto"`).
    """
    with processes.joined(meeting_trainer(job, run_dir)), torch_threads(job.trainer.num_threads):
        run_dir = processes.shared_folder(run_dir)
        processes.on_first(lambda: open_run_folder(run_dir, job.config, resume))
        finished = processes.on_first(lambda: finished_summary(job, run_dir))
        return finished or Run(job, run_dir).train()


class Run:
    """One training run in one folder. `train` reads as the table of contents of the other methods."""

    def __init__(self, job: TrainingJob, run_dir: Path) -> None:
        self.job, self.run_dir = job, run_dir
        self.stop = StopRequest()
        self.start_name = "cold_start" if job.cold_start.enabled else "start"
        self.checkpoint = processes.on_first(lambda: (complete_checkpoints(run_dir) or [None])[-1])
        self.log: RunLog | None = None
        if processes.is_first():
            self.log = RunLog(run_dir, columns(job.reward.term_names, job.module_class.metric_keys))
            self.log.forget_after(self.checkpoint.global_step if self.checkpoint else -1)

    def train(self) -> dict[str, Any]:
        """Train to the end of the schedule, from the newest complete checkpoint where there is one."""
        watch, timings_s = Stopwatch(), {}
        self.data = processes.first_alone(self.job.make_data)
        self.policy = self.job.make_policy()
        if self.job.trainer.compile:
            compile_parts(self.policy.model)
        timings_s["prepare"] = watch.lap_s()
        with shown(self.log, self.run_dir, self.job.make_dashboards), self.clip_loader() as self.clips:
            self.held_out = self.held_out_set()
            timings_s["decode_held_out"] = watch.lap_s()
            # shards are let go of between two fits, which what is counted as long-lived never is
            with nullcontext() if shards_weights(self.job.trainer.strategy) else long_lived():
                start = self.recorded_cold_start() if self.checkpoint else self.cold_start()
                self.prepare()
                with profiled(self.run_dir, is_wanted=self.job.profile and processes.is_first()) as parts:
                    self.run_fits(parts)

        def finish() -> dict[str, Any]:
            self.write_model(self.run_dir / EXPORTED)
            # Both are read from what the run recorded, so that they hold after a resume too.
            timings_s["cold_start"] = start.wall_s if start else 0.0
            timings_s["training"] = training_s(self.log)
            timings_s["total"] = sum(timings_s.values())
            rows = {"kept_faults": dict(self.data.kept_faults), "left_out": dict(self.data.left_out)}
            found = rows | {"clips": self.clips.counts}
            return write_summary(self.run_dir, self.job, self.log, self.start_name, start, timings_s, found)

        return processes.on_first(finish)

    def clip_loader(self) -> ClipLoader:
        """Decodes for the whole run. What a killed run quarantined after its checkpoint is tried again."""
        decoding = self.job.decoding
        clips = ClipLoader(
            self.job.budget,
            self.data.video_root,
            num_workers=decoding.num_workers,
            timeout_s=decoding.timeout_s,
            steps_ahead=decoding.steps_ahead,
            cache_mib=decoding.cache_mib,
            quarantine_file=self.run_dir / QUARANTINE_FILE,
            writes_quarantine=processes.is_first(),
            read=frame_reader(decoding.frame_cache_dir, decoding.frame_cache_gib),
        )
        clips.quarantine.forget_after(self.checkpoint.global_step if self.checkpoint else -1)
        return clips

    def held_out_set(self) -> HeldOutSet:
        """The same held-out examples for every seed; this process' share of them is decoded once and kept as frames."""
        examples = list(self.data.held_out)
        random.Random("held out").shuffle(examples)
        asked = examples[: self.job.validation.num_examples]
        [batch] = StepStream(self.clips, lambda step: asked, BEFORE_TRAINING, BEFORE_TRAINING + 1)
        processes.share_quarantine(self.clips.quarantine)
        readable = sorted(place for part in processes.gather([clip.position for clip in batch.clips]) for place in part)
        if asked and not readable:
            raise ValueError(f"none of the {len(asked)} held-out clips can be read; {QUARANTINE_FILE} says why")
        return HeldOutSet(
            [replace(clip, position=readable.index(clip.position)) for clip in batch.clips],
            self.job.wordings[self.job.evaluation_wording],
            self.job.rollout,
            self.job.validation.batch_size,
            self.job.seed,
        )

    def cold_start(self) -> ColdStartRecord | None:
        """Bring the policy to where reinforcement can begin; its curve becomes the first rows of the log."""
        settings = self.job.cold_start
        if not settings.enabled:
            return None
        with one_at_a_time(self.job):
            record = load_cached(self.job, self.policy)
            if record is None:
                record = self.train_cold_start()
                processes.on_first(lambda: save_cached(self.job, self.policy, record))
            elif self.log is not None:
                for point in record.curve:
                    self.log_cold_start(point)
        if self.log is not None:
            (self.run_dir / COLD_START_FILE).write_text(json.dumps(record.__dict__, indent=2), encoding="utf-8")
        if not record.reached_target:
            raise ColdStartFailed(
                f"the cold start gave up after {record.steps} supervised steps: {record.stopped_because}. "
                "Reinforcement sharpens answers that are sometimes right and cannot start from here. "
                "Raise cold_start.max_steps, lower cold_start.target_mean_iou, or try another seed."
            )
        return record

    def train_cold_start(self) -> ColdStartRecord:
        """Supervised training with its own counter and optimizers; its steps lie before 0."""
        settings, seed = self.job.cold_start, derive_seed(self.job.seed, "cold_start")
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
                self.log_cold_start(point)
            line.show(int(point["step"]), f"loss {point['loss']:.3f}{score}", now=bool(score))

        held_out = self.held_out.first(settings.num_eval_examples)
        module = ColdStartModule(self.policy, self.job, held_out, self.stop, show)
        stream = StepStream(self.clips, examples_of, -settings.max_steps, 0)
        try:
            return run_cold_start(self.trainer([StopListener(self.stop)], is_sharded=False), module, stream)
        finally:
            line.close()

    def log_cold_start(self, point: Mapping[str, float]) -> None:
        """One row of the cold start's curve."""
        metrics = {"loss/total": point["loss"], held_out_key("greedy", "mean_iou"): point["mean_iou"]}
        self.log.add(0, self.start_name, "cold_start", metrics, cold_start_step=int(point["step"]))

    def recorded_cold_start(self) -> ColdStartRecord | None:
        """How the cold start of a resumed run went."""
        file = self.run_dir / COLD_START_FILE
        return ColdStartRecord(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def prepare(self) -> None:
        """Let the method make of the policy what it trains, and what it trains beside it."""
        job = self.job
        self.policy, self.beside = job.module_class.prepared(self.policy, job.seed, **job.module_options)

    def write_model(self, folder: Path) -> None:
        """The policy as it is now, and what was trained beside it, as a Hugging Face folder."""
        export(merged(self.policy), folder, budget=self.job.budget)
        if self.beside is not None:
            self.job.module_class.write_beside(folder, self.beside.state_dict(), **self.job.module_options)

    def run_fits(self, parts: Parts | None) -> None:
        """Train every fit that is not finished, each with a fresh optimizer, learning rate and reference."""
        self.put_adapter_on(is_resumed=self.checkpoint is not None)
        done = self.checkpoint.global_step if self.checkpoint else 0
        best = BestModel(self.run_dir, self.log, self.write_model) if self.job.keeps_best_model else None
        self.evaluator = HeldOutEvaluator(self.held_out, self.log, self.job, self.run_dir, self.start_name, best)
        self.checkpointer = Checkpointer(self.job, self.run_dir, self.stop)
        for fit in self.job.schedule.fits():
            if fit.end_step > done:
                continued = self.checkpoint if self.checkpoint and fit.start_step < done else None
                if self.checkpoint and fit.start_step == done:  # killed between two fits
                    self.load_weights(self.checkpoint)
                self.run_fit(fit, continued, parts)
                self.stop.raise_if_requested()
                gc.collect()  # weights, gradients and moments of a strategy hold each other: before the next are made
                if shards_weights(self.job.trainer.strategy):  # what a process has now is a part of the policy
                    self.policy = self.job.make_policy()
                    self.prepare()
                    self.put_adapter_on(is_resumed=True)
                    self.load_weights(complete_checkpoints(self.run_dir)[-1])
        if done == self.job.schedule.total_steps:
            self.load_weights(self.checkpoint)

    def run_fit(self, fit: Fit, continued: Checkpoint | None, parts: Parts | None) -> None:
        """One Lightning fit, from its first step or from a checkpoint inside it."""
        job, first_step = self.job, continued.global_step if continued else fit.start_step
        if (parts_of_phase := fit.phases[0].trains) is not None:
            train_parts(self.policy, self.beside, parts_of_phase)
        module = self.module(fit, continued)
        module.steps_done = first_step
        sampler = StepSampler(self.data, job.schedule, job.prompts_per_step, job.seed)
        stream = StepStream(self.clips, sampler.examples, first_step, fit.end_step, parts or nullcontext)
        callbacks = [
            StopListener(self.stop),
            StepLogger(self.log, job, self.clips.quarantine, stream, self.checkpointer),
            self.evaluator,
            ProgressBar(job, self.evaluator),
            self.checkpointer,
            *([StepClock(parts)] if parts else []),
        ]
        trainer = self.trainer(callbacks)
        path = str(continued.state_file) if continued else None
        with readable(trainer.strategy, continued), let_go_after(trainer.strategy):
            trainer.fit(module, stream, ckpt_path=path, weights_only=True)

    def put_adapter_on(self, *, is_resumed: bool) -> None:
        """From here on an adapter trains, where one is asked for; the model that it is put on stays as it is."""
        seed = derive_seed(self.job.seed, "adapter")
        put_adapter_on(self.policy, self.run_dir, seed, is_resumed=is_resumed, is_made_here=self.job.cold_start.enabled)

    def module(self, fit: Fit, continued: Checkpoint | None) -> pl.LightningModule:
        """The method's module; with a reference anchored at the start of the fit where the method needs one."""
        if not self.job.module_class.needs_reference(self.job):
            beside = {} if self.beside is None else {"heads": self.beside}
            return self.job.module_class(self.policy, self.job, **beside, **self.job.module_options)
        folder = self.run_dir / "reference" / fit.name
        reference = reference_of(self.policy)
        if continued:
            reference.load(folder)
        else:
            processes.on_first(lambda: reference.save(folder))
        module = self.job.module_class(self.policy, self.job, reference, **self.job.module_options)
        module.reference_sha256 = processes.on_first(lambda: sha256_of(folder / WEIGHTS_FILE))
        return module

    def load_weights(self, checkpoint: Checkpoint) -> None:
        """Put a checkpoint's weights into the policy, without any optimizer state."""
        weights = checkpoint.weights()
        load_trained(self.policy, part_of(weights, "model."))
        if self.beside is not None:
            self.beside.load_state_dict(part_of(weights, "heads."))

    def trainer(self, callbacks: Iterable[pl.Callback], *, is_sharded: bool = True) -> pl.Trainer:
        """A Lightning trainer for one fit."""
        return lightning_trainer(self.job, self.run_dir, callbacks, is_sharded=is_sharded)
