"""One optimizer step from micro-batches, the same in all processes, and refused where something is not finite."""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from museg.phases.batches import derive_seed
from museg.phases.learning_rate import learning_rate
from museg.policy.adapter import drawn_from
from museg.policy.loading import Policy
from museg.training import processes
from museg.training.job import TrainingJob
from museg.training.profile import PartClock


class NonFiniteStep(FloatingPointError):
    """A loss or gradient was not finite. Names the step and the examples; the weights are those of the step before."""

    def __init__(self, what: str, step: int, example_ids: Sequence[str]) -> None:
        super().__init__(
            f"{what} is not finite at step {step}, examples {', '.join(example_ids)}. The weights were not changed by "
            "this step. Look at these examples, or lower optimizer.lr; resume=auto continues from the last checkpoint."
        )


class GuardedUpdate(pl.LightningModule):
    """What updates the weights of `policy`, once for each item of the dataloader.

    `parts` measures where a step's time goes, if that is asked.
    """

    automatic_optimization = False

    def __init__(self, policy: Policy, job: TrainingJob) -> None:
        super().__init__()
        self.policy, self.job = policy, job
        self.parts: PartClock = nullcontext

    def idle_loss(self) -> Tensor:
        """Zero, with a gradient of zero for every trained weight; gathers what the loss of a prompt gathers."""
        raise NotImplementedError

    def micro_batches(self, num_prompts: int) -> list[range]:
        """Consecutive prompts, whole groups, at most `trainer.micro_batch_prompts` a backward pass."""
        size = self.job.trainer.micro_batch_prompts
        return [range(start, min(start + size, num_prompts)) for start in range(0, num_prompts, size)]

    def accumulate(
        self, step: int, example_ids: Sequence[str], weight: float, loss_of: Callable[[range, float], Tensor]
    ) -> float | None:
        """Backward over this process' prompts in micro-batches; returns the loss of the whole step, over all processes.

        `weight` is what this process has of what the step's mean is taken over; `loss_of(part, whole)` the loss of the
        prompts in `part` times their share of the whole step's weight. Every process runs as many micro-batches as the
        one with the most, the missing ones on a blank clip. Returns None when none has a prompt; raises `NonFiniteStep`
        in all of them, with the weights unchanged.
        """
        parts = self.micro_batches(len(example_ids))
        counts, weights = zip(*processes.gather((len(parts), weight)), strict=True)
        if not max(counts):
            return None
        own_loss = 0.0
        for number in range(max(counts)):
            part = parts[number] if number < len(parts) else range(0)
            ids = [example_ids[place] for place in part]
            with drawn_from(self.policy, derive_seed(self.job.seed, "dropout", step, *ids)):
                loss = loss_of(part, sum(weights)) if part else self.idle_loss()
            own_loss += float(loss.detach())
            is_last = number == max(counts) - 1
            with self.parts("backward"), processes.gradient_exchange(self.trainer.strategy, is_last=is_last):
                self.manual_backward(loss * processes.world_size())  # the exchange takes the mean over processes
        whole_loss = sum(processes.gather(own_loss))
        if not math.isfinite(whole_loss):
            raise self.not_finite("the loss", step, example_ids)
        return whole_loss

    def stand_by(self, step: int) -> float | None:
        """Take part in a step of which this process has no prompt that can be read; returns what `accumulate` does."""
        return self.accumulate(step, [], 0.0, lambda part, whole: self.idle_loss())

    def not_finite(self, what: str, step: int, example_ids: Sequence[str]) -> NonFiniteStep:
        """The error that all processes raise together; it names the examples of all of them."""
        return NonFiniteStep(what, step, [name for names in processes.gather(list(example_ids)) for name in names])

    def step_optimizer(self, step: int, example_ids: Sequence[str]) -> dict[str, float]:
        """Clip, set the learning rate of this step, update, clear. Returns the learning rate and the gradient norm.

        Raises `NonFiniteStep` in all processes, with the weights unchanged, where the gradient is not finite.
        """
        settings, fit = self.job.optimizer, self.job.schedule.fit_at(step)
        rate = learning_rate(
            step - fit.start_step,
            fit.num_steps,
            peak=fit.phases[0].lr or settings.lr,
            warmup_steps=settings.warmup_of(fit.num_steps),
            final_fraction=settings.final_fraction,
            shape=settings.shape,
        )
        is_sharded = isinstance(self.trainer.strategy, DeepSpeedStrategy)
        norm = 0.0 if is_sharded else self.clip(step, example_ids)
        made = self.optimizers()
        for optimizer in made if isinstance(made, list) else [made]:
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("rate_ratio", 1.0)
            optimizer.step()
            optimizer.zero_grad()
        if is_sharded:  # only DeepSpeed sees the whole gradient: it clips in its step, or leaves the step out
            norm = float(self.trainer.strategy.model.get_global_grad_norm())
            if not math.isfinite(norm):
                raise self.not_finite("the gradient", step, example_ids)
        return {"train/learning_rate": rate, "loss/grad_norm": norm}

    def clip(self, step: int, example_ids: Sequence[str]) -> float:
        """Clip the gradient at `optimizer.max_grad_norm`; returns its norm before, or raises `NonFiniteStep`."""
        found = torch.nn.utils.clip_grad_norm_(self.parameters(), self.job.optimizer.max_grad_norm)
        norm = float(found.full_tensor() if isinstance(found, DTensor) else found)
        if not math.isfinite(norm):
            self.zero_grad()
            raise self.not_finite("the gradient", step, example_ids)
        return norm
