"""A batch of questions about decoded videos, answered by the model: the likeliest token throughout."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch

from museg.data.clips import LoadedClip
from museg.data.disk_cache import DiskCache
from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.answer_records import unanswered
from museg.evaluation.samples import BenchmarkSample
from museg.policy.feature_cache import FeatureCache
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, build_prompt_batch, num_prompt_tokens
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import Rollouts, RolloutSettings, greedy_rollouts


class Asking(Protocol):
    """How questions are put to a kind of model, and what becomes of its answers."""

    record: RecordedLayers | None
    """What must be recorded while answers are written."""

    def facts(self) -> Mapping[str, Any]:
        """What decides answers, beside the model and the token limits, as JSON values."""

    def check(self, policy: Policy) -> None:
        """Raise ValueError for a model that cannot answer in this way."""

    def example_of(self, sample: BenchmarkSample) -> GroundingExample:
        """The sample as the decoding and the prompts know it, its question as it is put."""

    def wording_of(self, task: str) -> PromptWording:
        """The words around a question of that kind."""

    def records(
        self, policy: Policy, samples: Sequence[BenchmarkSample], prompts: PromptBatch, answers: Rollouts
    ) -> list[dict[str, Any]]:
        """The lines of samples that were answered together."""


class Answerer:
    """A model that is asked in one way, and the vision features it has made."""

    def __init__(
        self,
        policy: Policy,
        asking: Asking,
        limits: RolloutSettings,
        *,
        feature_cache_mib: float,
        feature_disk: DiskCache | None = None,
    ) -> None:
        asking.check(policy)
        self.policy, self.asking, self.limits = policy, asking, limits
        self.features = FeatureCache(policy, feature_cache_mib, feature_disk)

    def answer(self, samples: Sequence[BenchmarkSample], clips: Sequence[LoadedClip]) -> list[dict[str, Any]]:
        """One record per sample, in order; `clips` are those that could be read, `position` their place in `samples`.

        A sample that cannot be asked has a record too: it counts as answered wrongly.

        Raises ValueError where the graphics card has too little memory for so many questions at once.
        """
        fitting = [clip for clip in clips if self._fits(clip)]
        records = [unanswered(sample, AnswerFault.UNREADABLE_VIDEO) for sample in samples]
        for clip in clips:
            records[clip.position] = unanswered(samples[clip.position], AnswerFault.PROMPT_TOO_LONG)
        for wording, together in self._by_wording(fitting):
            asked = [samples[clip.position] for clip in together]
            for clip, record in zip(together, self._answered(asked, together, wording), strict=True):
                records[clip.position] = record
        return records

    def _fits(self, clip: LoadedClip) -> bool:
        wording = self.asking.wording_of(clip.example.task)
        return num_prompt_tokens(self.policy, clip, wording) < self.limits.max_context_tokens

    def _by_wording(self, clips: Iterable[LoadedClip]) -> Iterator[tuple[PromptWording, list[LoadedClip]]]:
        """Questions that are put in the same words stand together."""
        groups: dict[PromptWording, list[LoadedClip]] = {}
        for clip in clips:
            groups.setdefault(self.asking.wording_of(clip.example.task), []).append(clip)
        yield from groups.items()

    def _answered(
        self, samples: Sequence[BenchmarkSample], clips: Sequence[LoadedClip], wording: PromptWording
    ) -> list[dict[str, Any]]:
        try:
            prompts = build_prompt_batch(
                self.policy,
                clips,
                wording,
                max_context_tokens=self.limits.max_context_tokens,
                features=self.features,
            )
            answers = greedy_rollouts(self.policy, prompts, self.limits, self.asking.record)
            return self.asking.records(self.policy, samples, prompts, answers)
        except torch.OutOfMemoryError as error:
            option = "inference.batch_size" if len(clips) > 1 else "inference.feature_cache_mib, or on a larger card"
            raise ValueError(
                f"the graphics card has too little memory left for {len(clips)} question(s) at once. What is answered "
                f"stays: go on with the same command and a smaller {option}. ({error})"
            ) from error
