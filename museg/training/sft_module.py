"""Supervised training on the ground truth: the same data, prompts and model, demonstrations instead of rollouts."""

import random
from typing import Any

from torch import Tensor

from museg.data.clips import StepBatch
from museg.data.examples import GroundingExample
from museg.dialogue.demonstrations import demonstration
from museg.objectives.supervised import supervised_loss
from museg.phases.batches import derive_seed
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.training.job import TrainingJob
from museg.training.phased_module import PhasedModule, example_ids_of
from museg.training.step_metrics import whole_step
from museg.training.stopwatch import Stopwatch


class SftModule(PhasedModule):
    """Maximum likelihood of the demonstrated answer. Phases change the data and the wording; there are no rewards.

    `cites_times_share`: share of the demonstrations whose reasoning names the times.
    `by_time`: they list the segments by time, in whatever order the annotation does.
    """

    def __init__(self, policy: Policy, job: TrainingJob, *, cites_times_share: float, by_time: bool) -> None:
        super().__init__(policy, job)
        self.cites_times_share, self.by_time = cites_times_share, by_time

    @staticmethod
    def needs_reference(job: TrainingJob) -> bool:
        """Likelihood needs none."""
        return False

    def training_step(self, batch: StepBatch, batch_idx: int) -> dict[str, Any]:
        """Learn the demonstrations of this step's examples."""
        step, watch = batch.global_step, Stopwatch()
        phase, _ = self.job.schedule.locate(step)
        self.steps_done = step + 1
        metrics = {"data/num_prompts": float(len(batch.clips))}
        loss = self.learn(batch, phase.prompt)
        if loss is not None:
            with self.parts("optimizer"):
                metrics |= {"loss/total": loss} | self.step_optimizer(step, example_ids_of(batch))
            metrics |= {"time/update_s": watch.lap_s()}
        return whole_step(metrics, [])

    def learn(self, batch: StepBatch, wording: str) -> float | None:
        """Backward over the step's demonstrations; returns the mean loss per token, None when no clip can be read."""
        with self.parts("building prompts"), self.gathered_tower():
            prompts = self.prompts_of(batch, wording) if batch.clips else None
        if prompts is None:
            return self.stand_by(batch.global_step)
        examples = [clip.example for clip in batch.clips]
        places = [clip.position for clip in batch.clips]
        chances = [random.Random(derive_seed(self.job.seed, "cites", batch.global_step, place)) for place in places]
        texts = [
            demonstrate(example, cites_times=chance.random() < self.cites_times_share, by_time=self.by_time)
            for example, chance in zip(examples, chances, strict=True)
        ]
        ids, mask = (tensor.to(self.device) for tensor in encode_completions(self.policy, texts))

        def loss_of(part: range, num_tokens: float) -> Tensor:
            rows = slice(part.start, part.stop)
            inputs = (prompts.select(list(part)), ids[rows], mask[rows], 1)
            with self.parts("policy forward"):
                log_probs = self.weights.run(lambda: completion_log_probs(self.policy, *inputs))
            return supervised_loss(log_probs, mask[rows]) * (float(mask[rows].sum()) / num_tokens)

        return self.accumulate(batch.global_step, example_ids_of(batch), float(mask.sum()), loss_of)


def demonstrate(example: GroundingExample, *, cites_times: bool, by_time: bool = False) -> str:
    """The demonstration of an example, with one decimal where that is exact and two elsewhere.

    by_time: sort the segments by start, then end; otherwise they stay in the order of the annotation.
    """
    targets = sorted(example.targets) if by_time else example.targets
    is_exact = all(round(time_s, 1) == time_s for segment in targets for time_s in segment)
    return demonstration(example.query, targets, cites_times=cites_times, decimals=1 if is_exact else 2)
