"""What every trained method shares: the policy, the phase schedule, one AdamW, the step counter, the guarded update."""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from museg.data.clips import StepBatch
from museg.phases.learning_rate import learning_rate
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, build_prompt_batch
from museg.training.job import TrainingJob
from museg.training.optimizers import adamw


class NonFiniteStep(FloatingPointError):
    """A loss or gradient was not finite. Names the step and the examples; the weights are those of the step before."""

    def __init__(self, what: str, step: int, example_ids: Sequence[str]) -> None:
        super().__init__(
            f"{what} is not finite at step {step}, examples {', '.join(example_ids)}. The weights were not changed by "
            "this step. Look at these examples, or lower optimizer.lr; resume=auto continues from the last checkpoint."
        )


class PhasedModule(pl.LightningModule):
    """Base of the methods. Manual optimization: one item of the dataloader is one optimizer step.

    `steps_done` counts finished reinforcement steps over all fits; it travels in every checkpoint and is the x-axis of
    every log. Phase and learning rate are functions of it.
    """

    automatic_optimization = False

    def __init__(self, policy: Policy, job: TrainingJob) -> None:
        super().__init__()
        self.model = policy.model
        self.policy = policy
        self.job = job
        self.steps_done = 0

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """A fresh optimizer; Lightning restores its state when a fit is continued."""
        return adamw(self.model, self.job.optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add our counter, and leave out Lightning's own: a continued fit begins a new pass at the right step."""
        checkpoint["steps_done"] = self.steps_done
        checkpoint.pop("loops", None)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counter back."""
        self.steps_done = int(checkpoint["steps_done"])

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """Frames stay where they are: only the prompt batch made of them travels."""
        return batch

    def prompts_of(self, batch: StepBatch, wording: str) -> PromptBatch:
        """The step's prompts on the device, in the wording of the phase."""
        return build_prompt_batch(
            self.policy, batch.clips, self.job.wordings[wording], max_context_tokens=self.job.rollout.max_context_tokens
        ).to(self.device)

    def micro_batches(self, num_prompts: int) -> list[range]:
        """Consecutive prompts, whole groups, at most `trainer.micro_batch_prompts` a backward pass."""
        size = self.job.trainer.micro_batch_prompts
        return [range(start, min(start + size, num_prompts)) for start in range(0, num_prompts, size)]

    def backward_checked(self, loss: Tensor, step: int, example_ids: Sequence[str]) -> float:
        """Backward, or `NonFiniteStep` before anything is changed. Returns the loss."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NonFiniteStep("the loss", step, example_ids)
        self.manual_backward(loss)
        return value

    def step_optimizer(self, step: int, example_ids: Sequence[str]) -> dict[str, float]:
        """Clip, set the learning rate of this step, update, clear. Returns the learning rate and the gradient norm."""
        settings, optimizer, fit = self.job.optimizer, self.optimizers(), self.job.schedule.fit_at(step)
        rate = learning_rate(
            step - fit.start_step,
            fit.end_step - fit.start_step,
            peak=settings.lr,
            warmup_steps=settings.warmup_steps,
            final_fraction=settings.final_fraction,
            shape=settings.shape,
        )
        norm = self.clip(step, example_ids)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        return {"train/learning_rate": rate, "loss/grad_norm": norm}

    def clip(self, step: int, example_ids: Sequence[str]) -> float:
        """Clip the gradient at `optimizer.max_grad_norm`; returns its norm before, or raises `NonFiniteStep`."""
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.job.optimizer.max_grad_norm))
        if not math.isfinite(norm):
            self.model.zero_grad()
            raise NonFiniteStep("the gradient", step, example_ids)
        return norm


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap_s(self) -> float:
        """Seconds since the previous lap (or since it was made)."""
        now = time.perf_counter()
        elapsed_s, self.last = now - self.last, now
        return elapsed_s
