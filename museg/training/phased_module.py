"""What every trained method shares: the policy and where its weights lie, prompts, checkpoints, the step counter."""

import gc
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy
from torch import Tensor

from museg.data.clips import StepBatch
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import PromptBatch, build_prompt_batch
from museg.policy.row_training import held_matrices
from museg.training.blank_prompt import blank_inputs
from museg.training.guarded_update import GuardedUpdate
from museg.training.held_out import WRITTEN_TIMES, AnswerReader
from museg.training.job import TrainingJob
from museg.training.optimizers import optimizers_of
from museg.training.sharding import ForwardPass, FsdpShards, HeldWeights, WholeWeights, Zero3Shards, shards_weights
from museg.training.train_parts import part_names
from museg.training.vision_features import vision_features


class PhasedModule(GuardedUpdate):
    """Base of the methods. Manual optimization: one item of the dataloader is one optimizer step.

    `steps_done` counts finished reinforcement steps over all fits; it travels in every checkpoint and is the x-axis of
    every log. Phase and learning rate are functions of it.
    `features` hands out what a frozen vision tower makes of a clip, to policy and reference; None where it trains.
    `weights` says where the policy's weights lie, and how they are come by.
    `reader` finds segments in the answers to held-out clips. `metric_keys` are those that only this method has.
    `asks_for_events`: whether answers hold no times, so that questions must not ask for their form.
    """

    metric_keys: tuple[str, ...] = ()
    asks_for_events = False

    def __init__(self, policy: Policy, job: TrainingJob) -> None:
        super().__init__(policy, job)
        self.model = policy.model
        self.steps_done = 0
        self.reference_sha256 = ""
        self.reader: AnswerReader = WRITTEN_TIMES
        self.exact_buffers = {name: buffer.clone() for name, buffer in self.model.named_buffers()}
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

    def idle_loss(self) -> Tensor:
        """Zero, by way of a blank prompt."""
        return 0.0 * self.weights.run(lambda: self.blank_log_probs(self.policy)).sum()

    def blank_log_probs(self, policy: Policy) -> Tensor:
        """What `policy` makes of a completion that says nothing about a clip that shows nothing."""
        return completion_log_probs(policy, *self.blank_inputs(policy), 1)

    def blank_inputs(self, policy: Policy) -> tuple[PromptBatch, Tensor, Tensor]:
        """That clip's prompt, that completion, and its mask."""
        limit = self.job.rollout.max_context_tokens
        return blank_inputs(policy, self.device, limit, has_features=self.features is not None)


def leave_frozen_out(module: PhasedModule, state: dict[str, Tensor], *_: Any) -> None:
    """Leave what trains in no fit out of the module's state. DeepSpeed by itself overlooks weights of two names."""
    for name in state.keys() - module.kept_names():
        del state[name]


def example_ids_of(batch: StepBatch) -> list[str]:
    """The examples of this process' clips."""
    return [clip.example.example_id for clip in batch.clips]
