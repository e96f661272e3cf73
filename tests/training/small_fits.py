"""Real modules on a tiny policy with random weights, fitted for a few steps on drawn clips."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from museg.config.job import build_job
from museg.data.clips import StepBatch
from museg.training.job import TrainingJob
from museg.training.trainers import quiet_lightning
from tests.policy.drawn_clips import drawn_clip
from tests.walks import tiny_runs


def small_job(outputs: Path, *overrides: str) -> TrainingJob:
    """A job of two phases, two steps each, that starts from random weights."""
    steps = ("phase.steps=2", "phase.total_steps=4", "rollout.max_new_tokens=8")
    return build_job(tiny_runs.settings(outputs, "cold_start=none", *steps, *overrides))


def step_batch(step: int, num_prompts: int = 3, num_asked: int | None = None) -> StepBatch:
    """The clips of one step, the same in every step."""
    return StepBatch(step, [drawn_clip(index) for index in range(num_prompts)], num_asked or num_prompts)


class Outputs(pl.Callback):
    """Keeps what every training step returned."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Any]] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:
        self.steps.append(outputs)


def fit(module: pl.LightningModule, batches: Sequence[StepBatch], precision: str = "32-true") -> list[dict[str, Any]]:
    """Train on these steps with Lightning; returns what each training step returned."""
    quiet_lightning()
    outputs = Outputs()
    trainer = pl.Trainer(
        accelerator="cpu",
        precision=precision,
        max_epochs=1,
        callbacks=[outputs],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(list(batches), batch_size=None, collate_fn=lambda batch: batch))
    return outputs.steps


def copied_weights(module: pl.LightningModule) -> dict:
    """The weights as they are now."""
    return {name: weight.detach().clone() for name, weight in module.model.state_dict().items()}
