"""MUSEG: group-relative policy optimization with segment-matching rewards, one optimizer step per dataloader item.

Shapes: B prompts of the step, G generations each, N = B x G rollouts, C completion tokens.

**Source:** arXiv 2505.20715; THUNLP-MT/MUSEG 889565e, src/trainer.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor

from museg.data.clips import StepBatch
from museg.dialogue.responses import ParsedResponse, read_strict
from museg.objectives.advantages import group_advantages
from museg.objectives.grpo import averaging_weight, grpo_loss
from museg.objectives.importance import importance
from museg.phases.batches import derive_seed
from museg.phases.schedule import Phase
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import PromptBatch
from museg.policy.reference import AdapterReference, Reference
from museg.policy.rollout import Rollouts, sample_rollouts
from museg.policy.shared_prefix import shared_prefix_log_probs
from museg.rewards.base import ScoredResponse
from museg.training.job import TrainingJob
from museg.training.phased_module import PhasedModule
from museg.training.rollout_metrics import completion_records, describe
from museg.training.sharding import FsdpShards, HeldWeights, WholeWeights
from museg.training.step_metrics import combined, whole_step
from museg.training.stopwatch import Stopwatch


class MusegModule(PhasedModule):
    """Reinforcement of the policy.

    `reference` is re-anchored by the run at each restart and never trained; None where the KL term has no weight.
    """

    @staticmethod
    def needs_reference(job: TrainingJob) -> bool:
        """Whether the objective holds the policy to a reference."""
        return job.objective.beta > 0

    def __init__(self, policy: Policy, job: TrainingJob, reference: Reference | AdapterReference | None = None) -> None:
        super().__init__(policy, job)
        self.reference = reference
        self.reference_weights: HeldWeights = WholeWeights()
        self.log_probs_of = shared_prefix_log_probs if job.objective.shared_prefix else completion_log_probs

    def configure_model(self) -> None:
        """FSDP shards the reference, too: whole it would take as much of a GPU as all shards (of 7B on 8 GPUs).

        DeepSpeed would need a second engine for it, so under ZeRO-3 each process has all of it. A reference that is the
        policy with another adapter lies where the policy does.
        """
        super().configure_model()
        strategy = self.trainer.strategy
        if isinstance(self.reference, AdapterReference):
            self.reference_weights = self.weights
        elif self.reference is not None and isinstance(strategy, ModelParallelStrategy):
            model = self.reference.to("cpu", self.compute_dtype).policy.model
            self.reference_weights = FsdpShards(model, strategy.root_device, self.compute_dtype, trains=False)

    def on_fit_start(self) -> None:
        """The reference is no child of this module, so it follows the policy here: DeepSpeed makes that bfloat16."""
        super().on_fit_start()
        if self.reference is not None and isinstance(self.reference_weights, WholeWeights):
            self.reference.to(self.device, self.policy.model.dtype)

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Sample, score, compare within groups, update. Returns the step's metrics and, on table steps, its texts."""
        step, watch = batch.global_step, Stopwatch()
        phase, _ = self.job.schedule.locate(step)
        with self.weights.gathered():
            sampled = self.sample(batch, phase) if batch.clips else None
        if sampled is None:  # every clip of this process is unreadable, and the quarantine says so
            if self.stand_by(step) is not None:
                self.step_optimizer(step, [])
            self.steps_done = step + 1
            return whole_step({"data/num_prompts": 0.0}, [])

        prompts, rollouts = sampled
        with self.parts("reading and rewards"):
            responses = [read_strict(text) for text in rollouts.texts]
            scores = self.score(responses, prompts, rollouts, phase.rewards_off)
        rollout_s = watch.lap_s()

        with self.parts("advantages"):
            advantages = self.advantages(scores)
        losses = self.update(step, prompts, rollouts, advantages)
        self.steps_done = step + 1
        timings = {"time/rollout_s": rollout_s, "time/update_s": watch.lap_s()}
        with self.parts("describing"):
            described = describe(prompts.examples, rollouts, responses, scores, self.policy.ids.stop_ids)
            records = []
            if step % self.job.validation.completions_every_steps == 0:
                records = completion_records(step, phase.name, prompts.examples, rollouts, scores)
            places = [clip.position for clip in batch.clips for _ in range(self.job.rollout.num_generations)]
            return whole_step(described | losses | timings, list(zip(places, records, strict=False)))

    def sample(self, batch: StepBatch, phase: Phase) -> tuple[PromptBatch, Rollouts]:
        """The prompts of this process and their completions, each drawn by its place in the step."""
        with self.parts("building prompts"):
            prompts = self.prompts_of(batch, phase.prompt)
        seeds = [derive_seed(self.job.seed, "rollout", batch.global_step, clip.position) for clip in batch.clips]
        with self.parts("rollout"):
            return prompts, sample_rollouts(self.policy, prompts, self.job.rollout, seeds)

    def score(
        self, responses: Sequence[ParsedResponse], prompts: PromptBatch, rollouts: Rollouts, off: Sequence[str]
    ) -> list[ScoredResponse]:
        """The reward of every rollout under the terms the phase leaves on."""
        targets = [example.targets for example in prompts.examples]
        groups = rollouts.group_of.tolist()
        return [
            self.job.reward.score(response, targets[group], off=off)
            for response, group in zip(responses, groups, strict=True)
        ]

    def advantages(self, scores: Sequence[ScoredResponse]) -> Tensor:
        """Advantages [N] in float32, as the release computes them."""
        rewards = torch.tensor([score.total for score in scores], dtype=torch.float32, device=self.device)
        groups = rewards.view(-1, self.job.rollout.num_generations)  # [B, G]
        return group_advantages(groups, scale=self.job.objective.scale_rewards).flatten()

    def update(self, step: int, prompts: PromptBatch, rollouts: Rollouts, advantages: Tensor) -> dict[str, float]:
        """One optimizer step over micro-batches of whole groups, each weighted by its share of the step."""
        num_generations = self.job.rollout.num_generations
        example_ids = [example.example_id for example in prompts.examples]
        found: list[dict[str, float]] = []

        def loss_of(part: range, whole: float) -> Tensor:
            rows = slice(part.start * num_generations, part.stop * num_generations)
            ids, mask = rollouts.completion_ids[rows], rollouts.completion_mask[rows]
            inputs = (prompts.select(list(part)), ids, mask, num_generations)
            with self.parts("policy forward"):
                log_probs = self.weights.run(lambda: self.log_probs_of(self.policy, *inputs))
            with self.parts("reference forward"):
                ref_log_probs = self.reference_log_probs(*inputs)
            with self.parts("loss"):
                loss, metrics = self.loss_share(
                    log_probs, rollouts.log_probs[rows], ref_log_probs, advantages[rows], mask, whole
                )
            found.append(metrics)
            return loss

        weight = float(averaging_weight(rollouts.completion_mask, self.job.objective.averaging))
        loss = self.accumulate(step, example_ids, weight, loss_of)
        with self.parts("optimizer"):
            stepped = self.step_optimizer(step, example_ids)
        return {"loss/total": loss} | combined(found) | stepped

    def loss_share(
        self,
        log_probs: Tensor,
        rollout_log_probs: Tensor,
        ref_log_probs: Tensor | None,
        advantages: Tensor,
        mask: Tensor,
        whole: float,
    ) -> tuple[Tensor, dict[str, float]]:
        """Loss and metrics of a micro-batch, times its share of the step's weight `whole`; [N, C], advantages [N]."""
        settings = self.job.objective
        gap = importance(
            log_probs,
            rollout_log_probs,
            mask,
            correction=settings.importance,
            cap=settings.importance_cap,
            averaging=settings.averaging,
        )
        result = grpo_loss(
            log_probs,
            None,  # one update per rollout: the sampling policy is the current one, but for the gap
            ref_log_probs,
            advantages,
            mask,
            beta=settings.beta,
            clip_range=(settings.clip_low, settings.clip_high),
            averaging=settings.averaging,
            token_weights=gap.weights,
        )
        share = float(result.weight) / whole
        metrics = {
            "loss/kl": float(result.kl) * share,
            "loss/clip_fraction": float(result.clip_fraction) * share,
            "train/log_prob_gap": float(gap.largest),
            "train/log_prob_gap_mean": float(gap.mean) * share,
        }
        if gap.corrected_share is not None:
            metrics["loss/importance_fraction"] = float(gap.corrected_share) * share
        return result.loss * share, metrics

    def reference_log_probs(self, *inputs: Any) -> Tensor | None:
        """Log-probabilities of the same completions under the reference, if there is one."""
        if self.reference is None:
            return None
        with self.reference.acting() as policy:
            return self.reference_weights.run(lambda: self.log_probs_of(policy, *inputs))

    def idle_loss(self) -> Tensor:
        """As above; a reference of which each process has but a part is gathered, too."""
        loss = super().idle_loss()
        if not isinstance(self.reference_weights, WholeWeights):
            with self.reference.acting() as policy:
                self.reference_weights.run(lambda: self.blank_log_probs(policy))
        return loss
