"""MUSEG: group-relative policy optimization with segment-matching rewards, one optimizer step per dataloader item.

Shapes: B prompts of the step, G generations each, N = B x G rollouts, C completion tokens.

**Source:** arXiv 2505.20715; THUNLP-MT/MUSEG 889565e, src/trainer.py.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from museg.data.clips import StepBatch
from museg.dialogue.responses import ParsedResponse, read_strict
from museg.metrics.grounding_scores import set_iou
from museg.metrics.keys import reward_key
from museg.objectives.advantages import group_advantages
from museg.objectives.grpo import averaging_weight, grpo_loss
from museg.phases.batches import derive_seed
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import PromptBatch
from museg.policy.reference import Reference
from museg.policy.rollout import Rollouts, sample_rollouts
from museg.policy.shared_prefix import shared_prefix_log_probs
from museg.rewards.base import ScoredResponse
from museg.training.job import TrainingJob
from museg.training.phased_module import PhasedModule, Stopwatch
from museg.training.step_metrics import whole_step


class MusegModule(PhasedModule):
    """Reinforcement of the policy.

    `reference` is re-anchored by the run at each restart and never trained; None where the KL term has no weight.
    """

    @staticmethod
    def needs_reference(job: TrainingJob) -> bool:
        """Whether the objective holds the policy to a reference."""
        return job.objective.beta > 0

    def __init__(self, policy: Policy, job: TrainingJob, reference: Reference | None = None) -> None:
        super().__init__(policy, job)
        self.reference = reference
        self.log_probs_of = shared_prefix_log_probs if job.objective.shared_prefix else completion_log_probs

    def on_fit_start(self) -> None:
        """The reference is no child of this module, so it follows the policy here: DeepSpeed makes that bfloat16."""
        self.reference.to(self.device, self.policy.model.dtype)

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Sample, score, compare within groups, update. Returns the step's metrics and, on table steps, its texts."""
        if not batch.clips:  # every clip of this process is unreadable, and the quarantine says so
            if self.stand_by(batch.global_step) is not None:
                self.step_optimizer(batch.global_step, [])
            self.steps_done = batch.global_step + 1
            return whole_step({"data/num_prompts": 0.0}, [])

        step, watch = batch.global_step, Stopwatch()
        phase, _ = self.job.schedule.locate(step)
        prompts = self.prompts_of(batch, phase.prompt)
        seeds = [derive_seed(self.job.seed, "rollout", step, clip.position) for clip in batch.clips]
        rollouts = sample_rollouts(self.policy, prompts, self.job.rollout, seeds)
        responses = [read_strict(text) for text in rollouts.texts]
        scores = self.score(responses, prompts, rollouts, phase.rewards_off)
        rollout_s = watch.lap_s()

        losses = self.update(step, prompts, rollouts, self.advantages(scores))
        self.steps_done = step + 1
        timings = {"time/rollout_s": rollout_s, "time/update_s": watch.lap_s()}
        metrics = self.describe(prompts, rollouts, responses, scores) | losses | timings
        places = [clip.position for clip in batch.clips for _ in range(self.job.rollout.num_generations)]
        table = self.table(step, phase.name, prompts, rollouts, scores)
        return whole_step(metrics, list(zip(places, table, strict=False)))

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
        objective, num_generations = self.job.objective, self.job.rollout.num_generations
        example_ids = [example.example_id for example in prompts.examples]
        totals = {"loss/kl": 0.0, "loss/clip_fraction": 0.0, "train/log_prob_gap": 0.0}

        def loss_of(part: range, whole: float) -> Tensor:
            rows = slice(part.start * num_generations, part.stop * num_generations)
            ids, mask = rollouts.completion_ids[rows], rollouts.completion_mask[rows]
            inputs = (prompts.select(list(part)), ids, mask, num_generations)
            log_probs = self.log_probs_of(self.policy, *inputs)
            result = grpo_loss(
                log_probs,
                None,  # one update per rollout: the sampling policy is the current one
                self.reference_log_probs(*inputs),
                advantages[rows],
                mask,
                beta=objective.beta,
                clip_range=(objective.clip_low, objective.clip_high),
                averaging=objective.averaging,
            )
            share = float(result.weight) / whole
            totals["loss/kl"] += float(result.kl) * share
            totals["loss/clip_fraction"] += float(result.clip_fraction) * share
            gap = ((log_probs.detach() - rollouts.log_probs[rows]).abs() * mask).max()
            totals["train/log_prob_gap"] = max(totals["train/log_prob_gap"], float(gap))
            return result.loss * share

        weight = float(averaging_weight(rollouts.completion_mask, objective.averaging))
        loss = self.accumulate(step, example_ids, weight, loss_of)
        return {"loss/total": loss} | totals | self.step_optimizer(step, example_ids)

    def reference_log_probs(self, *inputs: Any) -> Tensor | None:
        """Log-probabilities of the same completions under the reference, if there is one."""
        if self.reference is None:
            return None
        with torch.no_grad():
            return self.log_probs_of(self.reference.policy, *inputs)

    def describe(
        self,
        prompts: PromptBatch,
        rollouts: Rollouts,
        responses: Sequence[ParsedResponse],
        scores: Sequence[ScoredResponse],
    ) -> dict[str, float]:
        """Metrics of the step's rollouts; what each key means stands in `museg.metrics.keys`."""
        targets = [prompts.examples[group].targets for group in rollouts.group_of.tolist()]
        predicted = [response.segments or () for response in responses]
        lengths = rollouts.completion_mask.sum(dim=1)
        stops = torch.tensor(self.policy.ids.stop_ids, device=self.device)
        ended = (torch.isin(rollouts.completion_ids, stops) & rollouts.completion_mask.bool()).any(dim=1)
        totals = torch.tensor([score.total for score in scores]).view(-1, self.job.rollout.num_generations)
        spread = totals.std(dim=1)
        metrics = {
            "data/num_prompts": float(len(prompts.examples)),
            "reward/total": float(totals.mean()),
            "reward/group_std": float(spread.mean()),
            "reward/zero_std_share": float((totals == totals[:, :1]).all(dim=1).float().mean()),
            "train/mean_iou": _mean([set_iou(p, t) for p, t in zip(predicted, targets, strict=True)]),
            "train/well_formed_share": _mean([response.fault is None for response in responses]),
            "train/num_predicted_segments": _mean([len(p) for p in predicted]),
            "train/num_true_segments": _mean([len(t) for t in targets]),
            "train/completion_tokens": float(lengths.float().mean()),
            "train/truncated_share": float((~ended).float().mean()),
        }
        return metrics | {reward_key(term): _mean([s.terms[term] for s in scores]) for term in scores[0].terms}

    def table(
        self, step: int, phase: str, prompts: PromptBatch, rollouts: Rollouts, scores: Sequence[ScoredResponse]
    ) -> list[dict[str, Any]]:
        """On every `validation.completions_every_steps`-th step, its rollouts as records; otherwise nothing."""
        if step % self.job.validation.completions_every_steps:
            return []
        examples = [prompts.examples[group] for group in rollouts.group_of.tolist()]
        return [
            {
                "step": step + 1,
                "phase": phase,
                "example_id": example.example_id,
                "query": example.query,
                "targets": example.targets,
                "text": text,
                "reward": score.total,
                "terms": dict(score.terms),
            }
            for example, text, score in zip(examples, rollouts.texts, scores, strict=True)
        ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
