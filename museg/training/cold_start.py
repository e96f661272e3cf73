"""Supervised start of a model that cannot answer yet; lies before step 0 and is cached, so that a sweep shares it.

Which object a query names is learnt in one sudden transition whose moment depends on the seed, so the cold start stops
by held-out score, not by count.
"""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from filelock import FileLock, Timeout
from safetensors.torch import load_model, save_model

from museg.data.clips import StepBatch
from museg.files import identity_of, share_as_usual
from museg.phases.learning_rate import learning_rate
from museg.policy.loading import Policy
from museg.training import processes
from museg.training.callbacks import evaluate_held_out
from museg.training.checkpoints import force_to_disk
from museg.training.held_out import HeldOutSet
from museg.training.job import TrainingJob
from museg.training.optimizers import muon_and_adamw
from museg.training.phased_module import example_ids_of
from museg.training.sft_module import SftModule
from museg.training.stopping import Asked, StopRequest
from museg.training.stopwatch import Stopwatch
from museg.video.synthetic import DRAWING_VERSION

DECIDES = (
    "seed",
    "model",
    "dataset",
    "video.budget",  # not how many workers decode
    "cold_start",
    "rollout.max_new_tokens",  # how long a held-out answer may be
    "rollout.max_context_tokens",
    "validation.num_examples",  # which clips are held out
    "optimizer.max_grad_norm",
    "trainer.accelerator",
    "trainer.precision",
    "trainer.num_threads",
)
"""The settings that the result of a cold start depends on."""


COLD_START_VERSION = 1
"""Part of the cache key: raise it when the same settings begin to give other weights."""

LOCK_EVERY_S = 0.5
"""How often a run that waits for another's cold start looks again."""


@dataclass(frozen=True)
class ColdStartRecord:
    """How a cold start went: supervised steps, why it stopped, its curve (a mapping per evaluation), its duration."""

    steps: int
    stopped_because: str
    reached_target: bool
    curve: list[dict[str, float]]
    wall_s: float = 0.0


def cache_folder(job: TrainingJob) -> Path:
    """Where the result of this configuration and seed is kept."""
    settings = job.cold_start
    parts: dict[str, Any] = {key: reduce(lambda node, name: node[name], key.split("."), job.config) for key in DECIDES}
    parts["wordings"] = {name: asdict(job.wordings[name]) for name in {*settings.wordings, settings.evaluation}}
    parts["model"] = {key: value for key, value in parts["model"].items() if key != "lora"}  # comes on top of it
    if "path" in parts["model"]:  # a folder may hold other weights tomorrow
        files = sorted(Path(parts["model"]["path"]).glob("*.safetensors"))
        parts["weights"] = [[file.name, *identity_of(file)] for file in files]
    parts |= {"torch": torch.__version__, "drawing": DRAWING_VERSION, "code": COLD_START_VERSION}
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return Path(settings.cache_dir) / key


def load_cached(job: TrainingJob, policy: Policy) -> ColdStartRecord | None:
    """Put a finished cold start into the policy, or return None when there is none."""
    folder = cache_folder(job)
    if not processes.on_first((folder / "record.json").exists):
        return None
    load_model(policy.model, folder / "model.safetensors")
    return ColdStartRecord(**json.loads((folder / "record.json").read_text(encoding="utf-8")))


def save_cached(job: TrainingJob, policy: Policy, record: ColdStartRecord) -> None:
    """Keep the result under its key; the folder appears complete or not at all."""
    folder = cache_folder(job)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    save_model(policy.model, str(temporary / "model.safetensors"))
    share_as_usual(temporary / "model.safetensors")
    (temporary / "record.json").write_text(json.dumps(record.__dict__, indent=2), encoding="utf-8")
    force_to_disk(temporary)
    try:
        os.replace(temporary, folder)
    except OSError:  # another member of the sweep was first with the same result
        shutil.rmtree(temporary)


@contextmanager
def one_at_a_time(job: TrainingJob) -> Iterator[None]:
    """Let one run make this cold start while others that need the same wait, to find it in the cache afterwards.

    Without that, the members of a sweep that start together would each train it, and on unlike machines set out from
    unlike weights. A run that dies lets the next one in.
    """
    folder = cache_folder(job)
    lock = FileLock(f"{folder}.lock")
    has_waited = False
    while not processes.on_first(lambda: _is_acquired(lock)):
        if not has_waited and processes.is_first():
            print("waiting for another run, which is making the cold start that this one needs", flush=True)
        has_waited = True
        time.sleep(LOCK_EVERY_S)
    try:
        yield
    finally:
        if lock.is_locked:
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: whoever waits takes a new file then
            lock.release()


def _is_acquired(lock: FileLock) -> bool:
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


class ColdStartModule(SftModule):
    """Supervised steps with Muon for the matrices, until the held-out greedy mean IoU reaches the target."""

    def __init__(
        self,
        policy: Policy,
        job: TrainingJob,
        held_out: HeldOutSet,
        stop: StopRequest,
        on_step: Callable[[Mapping[str, float]], None],
    ) -> None:
        settings = job.cold_start
        super().__init__(policy, job, cites_times_share=settings.cites_times_share, by_time=settings.by_time)
        self.held_out = replace(held_out, wording=job.wordings[settings.evaluation])
        self.stop, self.on_step = stop, on_step
        self.curve: list[dict[str, float]] = []
        self.loss = math.nan

    def configure_optimizers(self) -> list:
        """Two optimizers, both stepped every step."""
        return muon_and_adamw(self.model, self.job.cold_start)

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Learn one batch of demonstrations; evaluate now and then and after the last one, and perhaps stop."""
        settings = self.job.cold_start
        step = batch.global_step + settings.max_steps  # counted from 0; in the run they lie before step 0
        self.learn_step(step, batch)
        record = {"step": step + 1, "loss": self.loss}
        if (step + 1) % settings.evaluate_every_steps == 0 or step + 1 == settings.max_steps:
            scores = evaluate_held_out(self.trainer, self, self.held_out, ("greedy",)).scores["greedy"]
            record["mean_iou"] = scores["mean_iou"]
            self.curve.append(record)
            self.trainer.should_stop = record["mean_iou"] >= settings.target_mean_iou
        self.trainer.should_stop = self.trainer.should_stop or self.stop.agree() is Asked.STOP
        self.on_step(record)
        return {"metrics": record}

    def learn_step(self, step: int, batch: StepBatch) -> None:
        """One update, if any clip can be read; wordings take turns."""
        wordings = self.job.cold_start.wordings
        loss = self.learn(batch, wordings[step % len(wordings)])
        if loss is not None:
            self.loss = loss
            self.clip(step, example_ids_of(batch))
            self.step_both(step)

    def step_both(self, step: int) -> None:
        """Step both optimizers at this step's share of their peak rates, which stays at its end after the schedule."""
        settings = self.job.cold_start
        for optimizer in self.optimizers():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    min(step, settings.schedule_steps - 1),
                    settings.schedule_steps,
                    peak=group["peak_lr"],
                    warmup_steps=settings.warmup_steps,
                    final_fraction=settings.final_fraction,
                    shape="cosine",
                )
            optimizer.step()
            optimizer.zero_grad()


def run_cold_start(trainer: pl.Trainer, module: ColdStartModule, batches: Iterable[StepBatch]) -> ColdStartRecord:
    """Train until the criterion is met or the steps are used up."""
    watch = Stopwatch()
    trainer.fit(module, batches)
    module.stop.raise_if_requested()
    target, last = module.job.cold_start.target_mean_iou, module.curve[-1]
    reached = last["mean_iou"] >= target
    because = f"held-out mean IoU {last['mean_iou']:.3f} " + (
        f"reached {target}" if reached else f"had not reached {target} when the steps were used up"
    )
    return ColdStartRecord(int(last["step"]), because, reached, module.curve, watch.lap_s())
