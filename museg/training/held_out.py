"""Scoring held-out clips with the current policy: greedy answers and, if asked, one sample per prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from museg.data.clips import LoadedClip
from museg.dialogue.prompts import PromptWording
from museg.dialogue.responses import read_lenient, read_strict
from museg.metrics.grounding import GroundingMetrics
from museg.metrics.grounding_scores import set_iou
from museg.metrics.keys import HELD_OUT_SCORES, held_out_key
from museg.phases.batches import derive_seed
from museg.policy.feature_cache import FeatureCache
from museg.policy.loading import Policy
from museg.policy.processing import build_prompt_batch
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from museg.rewards.coverage import CoverageReward
from museg.rewards.sequential import SequentialMatchingReward
from museg.rewards.timestamp import TimestampReward
from museg.training import processes

EXTRA_SCORES = ("well_formed_share", "timestamps_cited_share", "matching_reward", "completion_tokens")


@dataclass(frozen=True)
class Evaluation:
    """Mean scores by mode (`greedy`, `sampled`), and one prediction record per mode and example."""

    scores: dict[str, dict[str, float]]
    predictions: list[dict[str, Any]]

    def metrics(self) -> dict[str, float]:
        """The scores as run-log keys."""
        return {
            held_out_key(mode, name): value
            for mode, scores in self.scores.items()
            for name, value in scores.items()
            if name in HELD_OUT_SCORES
        }


@dataclass(frozen=True)
class HeldOutSet:
    """Decoded held-out clips and how they are asked. The samples of clip i are always drawn with the same noise.

    Of several processes each holds some of the clips; a clip's `position` is its place in the whole set.
    """

    clips: Sequence[LoadedClip]
    wording: PromptWording
    rollout: RolloutSettings
    batch_size: int
    seed: int

    def first(self, num_clips: int) -> "HeldOutSet":
        """The same questions about the first clips only."""
        return replace(self, clips=[clip for clip in self.clips if clip.position < num_clips])

    def evaluate(self, policy: Policy, modes: Sequence[str], features: FeatureCache | None = None) -> Evaluation:
        """Answer every clip in each mode with the model as it is (put it in eval mode first).

        `features` hands out what a frozen vision tower makes of the clips.

        The result covers the clips of all processes, in the order in which a single one would have answered them.
        """
        metrics = {mode: GroundingMetrics(EXTRA_SCORES, sync_on_compute=False) for mode in modes}
        answers = processes.in_order(processes.gather(list(self._answers(policy, modes, features))))
        for record, extra, predicted in answers:
            metrics[record["mode"]].update(predicted, record["targets"], extra)
        scores = {mode: metric.compute() for mode, metric in metrics.items()} if answers else {}
        return Evaluation(scores, [record for record, *_ in answers])

    def _answers(
        self, policy: Policy, modes: Sequence[str], features: FeatureCache | None
    ) -> Iterator[tuple[tuple[int, int, int], tuple]]:
        """This process' answers, as `_read` gives them, each behind its place in the whole: batch, mode, clip."""
        for start in range(0, len(self.clips), self.batch_size):
            clips = self.clips[start : start + self.batch_size]
            prompts = build_prompt_batch(
                policy, clips, self.wording, max_context_tokens=self.rollout.max_context_tokens, features=features
            )
            seeds = [derive_seed(self.seed, "held_out", clip.position) for clip in clips]
            for number, mode in enumerate(modes):
                answers = (
                    greedy_rollouts(policy, prompts, self.rollout)
                    if mode == "greedy"
                    else sample_rollouts(policy, prompts, self.rollout.with_num_generations(1), seeds)
                )
                lengths = answers.completion_mask.sum(dim=1).tolist()
                for clip, answer in zip(clips, _read(clips, answers.texts, lengths, mode), strict=True):
                    yield (clip.position // self.batch_size, number, clip.position), answer


def _read(
    clips: Sequence[LoadedClip], texts: Sequence[str], lengths: Sequence[int], mode: str
) -> Iterator[tuple[dict[str, Any], dict[str, float], tuple]]:
    """Segments as evaluation reads them (lenient), form and citations as training reads them (strict)."""
    coverage, local, timestamp = CoverageReward(), SequentialMatchingReward(), TimestampReward()
    for clip, text, length in zip(clips, texts, lengths, strict=True):
        example, strict, lenient = clip.example, read_strict(text), read_lenient(text)
        predicted = lenient.segments or ()
        matching = (coverage(strict, example.targets) + local(strict, example.targets)) / 2
        well_formed = strict.fault is None
        extra = {
            "well_formed_share": float(well_formed),
            "timestamps_cited_share": float(well_formed and timestamp(strict, example.targets) == 0),
            "matching_reward": matching,
            "completion_tokens": float(length),
        }
        record = {
            "example_id": example.example_id,
            "video": example.video,
            "query": example.query,
            "targets": example.targets,
            "duration_s": example.duration_s or clip.video.duration_s,
            "mode": mode,
            "text": text,
            "segments": lenient.segments,
            "fault": strict.fault.value if strict.fault else None,
            "iou": set_iou(predicted, example.targets),
            "reward": matching,
        }
        yield record, extra, predicted
