"""A whole run: cold start, the fits of the phase schedule with restarts between them, export, summary, report.

A fit is what one optimizer trains. Its starting weights are written once to `reference/<fit>/`: they are the reference
of the fit's KL term, and a fit that is continued after a kill finds its reference there.
"""

import gc
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from museg.data.step_sampler import StepSampler
from museg.metrics.keys import columns
from museg.phases.schedule import Fit
from museg.policy.compiled_parts import compile_parts
from museg.policy.loading import EXPORTED
from museg.training import processes
from museg.training.best_model import BestModel
from museg.training.callbacks import Checkpointer, HeldOutEvaluator, StepClock, StepLogger
from museg.training.checkpoints import Checkpoint, complete_checkpoints, open_run_folder
from museg.training.cold_start import ColdStartRecord
from museg.training.cold_start_stage import STAGE, ColdStartStage, recorded_cold_start
from museg.training.job import TrainingJob
from museg.training.learner import Learner
from museg.training.mirrors import shown
from museg.training.profile import Parts, profiled
from museg.training.progress import ProgressBar
from museg.training.run_clips import clip_loader, held_out_set
from museg.training.run_log import RunLog
from museg.training.sharding import let_go_after, shards_weights
from museg.training.step_stream import StepStream
from museg.training.stopping import StopListener, StopRequest
from museg.training.stopwatch import Stopwatch
from museg.training.summary import finished_summary, training_s, write_summary
from museg.training.trainers import lightning_trainer, long_lived, meeting_trainer, torch_threads
from museg.training.universal import readable


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
        self.start_name = STAGE if job.cold_start.enabled else "start"
        self.checkpoint = processes.on_first(lambda: (complete_checkpoints(run_dir) or [None])[-1])
        self.last_step = self.checkpoint.global_step if self.checkpoint else -1
        self.log: RunLog | None = None
        if processes.is_first():
            self.log = RunLog(run_dir, columns(job.reward.term_names, job.module_class.metric_keys))
            self.log.forget_after(self.last_step)

    def train(self) -> dict[str, Any]:
        """Train to the end of the schedule, from the newest complete checkpoint where there is one."""
        job, watch, timings_s = self.job, Stopwatch(), {}
        self.data = processes.first_alone(job.make_data)
        self.learner = Learner(job, self.run_dir)
        if job.trainer.compile:
            compile_parts(self.learner.policy.model)
        timings_s["prepare"] = watch.lap_s()
        with (
            shown(self.log, self.run_dir, job.make_dashboards),
            clip_loader(job, self.run_dir, self.data, self.last_step) as self.clips,
        ):
            self.held_out = held_out_set(job, self.data, self.clips)
            timings_s["decode_held_out"] = watch.lap_s()
            # shards are let go of between two fits, which what is counted as long-lived never is
            with nullcontext() if shards_weights(job.trainer.strategy) else long_lived():
                start = self.started()
                self.put_questions()
                self.learner.prepare()
                with profiled(self.run_dir, is_wanted=job.profile and processes.is_first()) as parts:
                    self.run_fits(parts)
        return processes.on_first(lambda: self.finish(start, timings_s))

    def started(self) -> ColdStartRecord | None:
        """How the cold start went, also that of a run which is continued; None where there is none."""
        if self.checkpoint:
            return recorded_cold_start(self.run_dir)
        if not self.job.cold_start.enabled:
            return None
        policy, held_out = self.learner.policy, self.held_out
        stage = ColdStartStage(self.job, self.run_dir, policy, self.data, self.clips, held_out, self.log, self.stop)
        return stage.bring()

    def put_questions(self) -> None:
        """From here on ask as the method does; a cold start, which methods share, has asked as the annotations do."""
        if not self.job.module_class.asks_for_events:
            return
        clips = [replace(clip, example=self.data.asked_for_events(clip.example)) for clip in self.held_out.clips]
        self.held_out = replace(self.held_out, clips=clips)
        self.data = self.data.asking_for_events()

    def run_fits(self, parts: Parts | None) -> None:
        """Train every fit that is not finished, each with a fresh optimizer, learning rate and reference."""
        self.learner.put_adapter_on(is_resumed=self.checkpoint is not None)
        done = self.checkpoint.global_step if self.checkpoint else 0
        best = BestModel(self.run_dir, self.log, self.learner.write_model) if self.job.keeps_best_model else None
        self.evaluator = HeldOutEvaluator(self.held_out, self.log, self.job, self.run_dir, self.start_name, best)
        self.checkpointer = Checkpointer(self.job, self.run_dir, self.stop)
        for fit in self.job.schedule.fits():
            if fit.end_step > done:
                continued = self.checkpoint if self.checkpoint and fit.start_step < done else None
                if self.checkpoint and fit.start_step == done:  # killed between two fits
                    self.learner.load_weights(self.checkpoint)
                self.run_fit(fit, continued, parts)
                self.stop.raise_if_requested()
                gc.collect()  # weights, gradients and moments of a strategy hold each other: before the next are made
                if shards_weights(self.job.trainer.strategy):  # what a process has now is a part of the policy
                    self.learner.make_again(complete_checkpoints(self.run_dir)[-1])
        if done == self.job.schedule.total_steps:
            self.learner.load_weights(self.checkpoint)

    def run_fit(self, fit: Fit, continued: Checkpoint | None, parts: Parts | None) -> None:
        """One Lightning fit, from its first step or from a checkpoint inside it."""
        job, first_step = self.job, continued.global_step if continued else fit.start_step
        module = self.learner.module(fit, continued)
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
        trainer = lightning_trainer(job, self.run_dir, callbacks)
        path = str(continued.state_file) if continued else None
        with readable(trainer.strategy, continued), let_go_after(trainer.strategy):
            trainer.fit(module, stream, ckpt_path=path, weights_only=True)

    def finish(self, start: ColdStartRecord | None, timings_s: dict[str, float]) -> dict[str, Any]:
        """Write the model and the summary; returns that.

        What is counted is read from what the run recorded, so that it holds after a resume too.
        """
        self.learner.write_model(self.run_dir / EXPORTED)
        timings_s |= {"cold_start": start.wall_s if start else 0.0, "training": training_s(self.log)}
        timings_s["total"] = sum(timings_s.values())
        rows = {"kept_faults": dict(self.data.kept_faults), "left_out": dict(self.data.left_out)}
        found = rows | {"clips": self.clips.counts}
        return write_summary(self.run_dir, self.job, self.log, self.start_name, start, timings_s, found)
