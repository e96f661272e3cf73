"""What every trained method shares: the policy, the phase schedule, one AdamW, the step counter, the guarded update."""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from museg.data.clips import LoadedClip, StepBatch
from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.meco.tokens import held_matrices
from museg.phases.batches import derive_seed
from museg.phases.learning_rate import learning_rate
from museg.policy.adapter import drawn_from
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import PromptBatch, build_prompt_batch, encode_completions
from museg.training import processes
from museg.training.held_out import WRITTEN_TIMES, AnswerReader
from museg.training.job import TrainingJob
from museg.training.optimizers import optimizers_of
from museg.training.profile import PartClock
from museg.training.sharding import ForwardPass, FsdpShards, HeldWeights, WholeWeights, Zero3Shards, shards_weights
from museg.training.trained_parts import part_names
from museg.training.vision_features import vision_features
from museg.video.decoding import SampledVideo

BLANK_CLIP = LoadedClip(
    GroundingExample("blank", "", "", (), None, "tvg", "blank"),
    0,
    SampledVideo(np.zeros((2, 3, 28, 28), np.uint8), np.zeros(2), 1.0, 2.0, 2),
)
BLANK_WORDING = PromptWording(system="", before_video="{query}", after_video="")
"""What a process reads that has no prompts left while the others still run theirs."""


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
    every log. Phase and learning rate are functions of it. `parts` measures where a step's time goes, if that is asked.
    `features` hands out what a frozen vision tower makes of a clip, to policy and reference; None where it trains.
    `weights` says where the policy's weights lie, and how they are come by.
    `reader` finds segments in the answers to held-out clips. `metric_keys` are those that only this method has.
    """

    metric_keys: tuple[str, ...] = ()
    automatic_optimization = False

    def __init__(self, policy: Policy, job: TrainingJob) -> None:
        super().__init__()
        self.model = policy.model
        self.policy = policy
        self.job = job
        self.steps_done = 0
        self.reference_sha256 = ""
        self.reader: AnswerReader = WRITTEN_TIMES
        self.exact_buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
        self.parts: PartClock = nullcontext
        self.features = vision_features(policy, job.vision_features)
        self.strict_loading = policy.lora is None  # an adapter's checkpoints hold nothing else
        self.weights: HeldWeights = WholeWeights()
        self.forward_pass = ForwardPass()

    @staticmethod
    def prepared(policy: Policy, seed: int, **options: Any) -> tuple[Policy, torch.nn.Module | None]:
        """The policy as the method trains it, and what it trains beside it (None: nothing); `options` are its own.

        To be asked once a cold start has ended, before an adapter is put on the model.
        """
        return policy, None

    @staticmethod
    def write_beside(folder: Path, weights: Mapping[str, Tensor], **options: Any) -> None:
        """Write what was trained beside the policy, by its weights, into a folder that holds the exported policy."""

    def configure_model(self) -> None:
        """Shard the weights where the trainer asks for it; Lightning calls this before it asks for the optimizer."""
        strategy = self.trainer.strategy
        if isinstance(strategy, DeepSpeedStrategy) and not self.strict_loading:
            kept = self.kept_names()
            learns = (weight.requires_grad for name, weight in self.named_parameters() if name in kept)
            strategy.exclude_frozen_parameters = all(learns)
            self.register_state_dict_post_hook(leave_frozen_out)
        if isinstance(strategy, ModelParallelStrategy):
            self.weights = FsdpShards(self.model, strategy.root_device, self.compute_dtype)
        elif shards_weights(strategy):
            self.weights = Zero3Shards(strategy, self.forward_pass)

    @property
    def compute_dtype(self) -> torch.dtype:
        """What sharded weights are gathered in."""
        return torch.float32 if self.job.trainer.precision == "32-true" else torch.bfloat16

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Fresh ones; Lightning restores their state when a fit is continued."""
        return optimizers_of(self, self.job.optimizer, undecayed=held_matrices(self.model))

    def on_fit_start(self) -> None:
        """Training mode: pretrained weights come in evaluation mode, in which gradient checkpointing is off.

        DeepSpeed has rounded the rotary frequencies with the weights by now, which would turn late tokens radians off.
        Shards of an earlier fit hold each other, so that they would stay until Python looks for circles.
        """
        gc.collect()
        self.model.train()
        for name, buffer in self.model.named_buffers():
            buffer.data = self.exact_buffers[name].to(buffer.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add our counter, and leave out Lightning's own: a continued fit begins a new pass at the right step."""
        checkpoint["steps_done"] = self.steps_done
        checkpoint["reference_sha256"] = self.reference_sha256
        checkpoint.pop("loops", None)
        if self.policy.lora is not None:
            state, kept = checkpoint["state_dict"], self.kept_names()
            checkpoint["state_dict"] = {name: weight for name, weight in state.items() if name in kept}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the counter back. Raises `ValueError` when the reference is not the one that the steps so far had."""
        self.steps_done = int(checkpoint["steps_done"])
        if not self.strict_loading and "state_dict" in checkpoint:  # DeepSpeed has read the weights by now
            lacking = self.kept_names() - checkpoint["state_dict"].keys()
            if lacking:
                raise ValueError(f"the checkpoint lacks {len(lacking)} weights that train, such as {min(lacking)}")
        if checkpoint["reference_sha256"] != self.reference_sha256:
            raise ValueError(
                "the reference weights in reference/ are not those this checkpoint was trained with: put the original "
                "files back, or start a new run"
            )

    def kept_names(self) -> set[str]:
        """The weights that train in this fit, and those that do in any other phase."""
        is_adapted = self.policy.lora is not None
        of_phases = (phase.trains for phase in self.job.schedule.phases if phase.trains is not None)
        chosen = (part_names(self.model, parts, is_adapted=is_adapted) for parts in of_phases)
        of_model = {f"model.{name}" for names in chosen for name in names}
        beside = {name for name, _ in self.named_parameters() if not name.startswith("model.")}
        return of_model | beside | {name for name, weight in self.named_parameters() if weight.requires_grad}

    def transfer_batch_to_device(self, batch: StepBatch, device: torch.device, dataloader_idx: int) -> StepBatch:
        """Frames stay where they are: only the prompt batch made of them travels."""
        return batch

    def prompts_of(self, batch: StepBatch, wording: str) -> PromptBatch:
        """The step's prompts on the device, in the wording of the phase."""
        limit = self.job.rollout.max_context_tokens
        wording = self.job.wordings[wording]
        return build_prompt_batch(self.policy, batch.clips, wording, max_context_tokens=limit, features=self.features)

    def gathered_tower(self) -> AbstractContextManager:
        """Surrounds what runs a frozen tower in one process and perhaps not in another; all of them enter it."""
        is_in_shards = self.features is not None and isinstance(self.weights, Zero3Shards)
        return self.weights.gathered() if is_in_shards else nullcontext()

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

    def idle_loss(self) -> Tensor:
        """Zero, with a gradient of zero for every trained weight; gathers what the loss of a prompt gathers."""
        return 0.0 * self.weights.run(lambda: self.blank_log_probs(self.policy)).sum()

    def blank_log_probs(self, policy: Policy) -> Tensor:
        """What `policy` makes of a completion that says nothing about a clip that shows nothing."""
        return completion_log_probs(policy, *self.blank_inputs(policy), 1)

    def blank_inputs(self, policy: Policy) -> tuple[PromptBatch, Tensor, Tensor]:
        """That clip's prompt, that completion, and its mask."""
        limit = self.job.rollout.max_context_tokens
        prompts = build_prompt_batch(policy, [BLANK_CLIP], BLANK_WORDING, max_context_tokens=limit)
        if self.features is not None:  # nobody calls the tower
            is_video = prompts.input_ids == policy.ids.video_id
            blank = torch.zeros(int(is_video.sum()), policy.model.config.text_config.hidden_size, device=self.device)
            prompts = replace(prompts, features=blank)
        ids, mask = (tensor.to(self.device) for tensor in encode_completions(policy, [""]))
        return prompts, ids, mask

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


def leave_frozen_out(module: PhasedModule, state: dict[str, Tensor], *_: Any) -> None:
    """Leave what trains in no fit out of the module's state. DeepSpeed by itself overlooks weights of two names."""
    for name in state.keys() - module.kept_names():
        del state[name]


def example_ids_of(batch: StepBatch) -> list[str]:
    """The examples of this process' clips."""
    return [clip.example.example_id for clip in batch.clips]


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap_s(self) -> float:
        """Seconds since the previous lap (or since it was made)."""
        now = time.perf_counter()
        elapsed_s, self.last = now - self.last, now
        return elapsed_s
