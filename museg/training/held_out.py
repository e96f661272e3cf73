"""Scoring held-out clips with the current policy: greedy answers and, if asked, one sample per prompt."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from museg.data.clips import LoadedClip
from museg.dialogue.prompts import PromptWording
from museg.dialogue.responses import ParsedResponse, read_lenient, read_strict
from museg.metrics.grounding import GroundingMetrics
from museg.metrics.grounding_scores import set_iou
from museg.metrics.keys import HELD_OUT_SCORES, held_out_key
from museg.phases.batches import derive_seed
from museg.policy.feature_cache import FeatureCache
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, build_prompt_batch
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import Rollouts, RolloutSettings, greedy_rollouts, sample_rollouts
from museg.rewards.coverage import CoverageReward
from museg.rewards.sequential import SequentialMatchingReward
from museg.rewards.timestamp import TimestampReward
from museg.training import processes

EXTRA_SCORES = ("well_formed_share", "timestamps_cited_share", "matching_reward", "completion_tokens")


class ReadAnswer(NamedTuple):
    """One answer as training reads it (form, citations) and as evaluation does (segments)."""

    strict: ParsedResponse
    lenient: ParsedResponse


class AnswerReader(Protocol):
    """How a method's answers are read."""

    record: RecordedLayers | None
    """What must be recorded while they are written."""

    def read(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[ReadAnswer]:
        """One for each prompt."""


class WrittenTimes:
    """Segments are what the text says."""

    record = None

    def read(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[ReadAnswer]:
        """One for each prompt."""
        return [ReadAnswer(read_strict(text), read_lenient(text)) for text in answers.texts]


WRITTEN_TIMES = WrittenTimes()


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

    def evaluate(
        self,
        policy: Policy,
        modes: Sequence[str],
        features: FeatureCache | None = None,
        reader: AnswerReader = WRITTEN_TIMES,
    ) -> Evaluation:
        """Answer every clip in each mode with the model as it is (put it in eval mode first).

        `features` hands out what a frozen vision tower makes of the clips; `reader` finds the segments.

        The result covers the clips of all processes, in the order in which a single one would have answered them.
        """
        metrics = {mode: GroundingMetrics(EXTRA_SCORES, sync_on_compute=False) for mode in modes}
        answers = processes.in_order(processes.gather(list(self._answers(policy, modes, features, reader))))
        for record, extra, predicted in answers:
            metrics[record["mode"]].update(predicted, record["targets"], extra)
        scores = {mode: metric.compute() for mode, metric in metrics.items()} if answers else {}
        return Evaluation(scores, [record for record, *_ in answers])

    def _answers(
        self, policy: Policy, modes: Sequence[str], features: FeatureCache | None, reader: AnswerReader
    ) -> Iterator[tuple[tuple[int, int, int], tuple]]:
        """This process' answers, as `_scored` gives them, each behind its place in the whole: batch, mode, clip."""
        for start in range(0, len(self.clips), self.batch_size):
            clips = self.clips[start : start + self.batch_size]
            prompts = build_prompt_batch(
                policy, clips, self.wording, max_context_tokens=self.rollout.max_context_tokens, features=features
            )
            seeds = [derive_seed(self.seed, "held_out", clip.position) for clip in clips]
            for number, mode in enumerate(modes):
                answers = (
                    greedy_rollouts(policy, prompts, self.rollout, reader.record)
                    if mode == "greedy"
                    else sample_rollouts(policy, prompts, self.rollout.with_num_generations(1), seeds, reader.record)
                )
                lengths = answers.completion_mask.sum(dim=1).tolist()
                read = reader.read(policy, prompts, answers)
                for clip, answer in zip(clips, _scored(clips, read, lengths, mode), strict=True):
                    yield (clip.position // self.batch_size, number, clip.position), answer


def _scored(
    clips: Sequence[LoadedClip], answers: Sequence[ReadAnswer], lengths: Sequence[int], mode: str
) -> Iterator[tuple[dict[str, Any], dict[str, float], tuple]]:
    """Each answer's record, extra scores and segments; these as evaluation reads them, form as training does."""
    coverage, local, timestamp = CoverageReward(), SequentialMatchingReward(), TimestampReward()
    for clip, (strict, lenient), length in zip(clips, answers, lengths, strict=True):
        example = clip.example
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
            "text": lenient.text,
            "segments": lenient.segments,
            "fault": strict.fault.value if strict.fault else None,
            "iou": set_iou(predicted, example.targets),
            "reward": matching,
        }
        yield record, extra, predicted
