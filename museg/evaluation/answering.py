"""A batch of questions about decoded videos, answered by the model: the likeliest token throughout."""

from collections.abc import Sequence
from typing import Any

import torch

from museg.data.clips import LoadedClip
from museg.data.disk_cache import DiskCache
from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.dialogue.responses import read_lenient
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.samples import BenchmarkSample
from museg.policy.feature_cache import FeatureCache
from museg.policy.loading import Policy
from museg.policy.processing import build_prompt_batch, num_prompt_tokens
from museg.policy.rollout import RolloutSettings, greedy_rollouts


class Answerer:
    """A model that is asked in one wording, and the vision features it has made."""

    def __init__(
        self,
        policy: Policy,
        wording: PromptWording,
        limits: RolloutSettings,
        *,
        feature_cache_mib: float,
        feature_disk: DiskCache | None = None,
    ) -> None:
        self.policy, self.wording, self.limits = policy, wording, limits
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
        for clip, (completion, num_tokens) in zip(fitting, self._completions(fitting), strict=True):
            records[clip.position] = answer_record(samples[clip.position], completion, num_tokens)
        return records

    def _fits(self, clip: LoadedClip) -> bool:
        return num_prompt_tokens(self.policy, clip, self.wording) < self.limits.max_context_tokens

    def _completions(self, clips: Sequence[LoadedClip]) -> list[tuple[str, int]]:
        """Each clip's completion and its number of tokens, the end token included."""
        try:
            return self._generated(clips) if clips else []
        except torch.OutOfMemoryError as error:
            option = "inference.batch_size" if len(clips) > 1 else "inference.feature_cache_mib, or on a larger card"
            raise ValueError(
                f"the graphics card has too little memory left for {len(clips)} question(s) at once. What is answered "
                f"stays: go on with the same command and a smaller {option}. ({error})"
            ) from error

    def _generated(self, clips: Sequence[LoadedClip]) -> list[tuple[str, int]]:
        batch = build_prompt_batch(
            self.policy,
            clips,
            self.wording,
            max_context_tokens=self.limits.max_context_tokens,
            features=self.features,
        )
        rollouts = greedy_rollouts(self.policy, batch, self.limits)
        return list(zip(rollouts.texts, rollouts.completion_mask.sum(dim=1).tolist(), strict=True))


def example_of(sample: BenchmarkSample) -> GroundingExample:
    """The sample as the decoding and the prompts know it."""
    return GroundingExample(
        example_id=sample.sample_id,
        video=sample.video,
        query=sample.question,
        targets=sample.targets,
        duration_s=sample.duration_s,
        task=sample.task,
        source=sample.source,
    )


def answer_record(sample: BenchmarkSample, completion: str, num_tokens: int) -> dict[str, Any]:
    """The line of an answered sample; `output` is the stripped inside of the only answer block."""
    inside = read_lenient(completion).answer
    fault = AnswerFault.NO_ANSWER_BLOCK if inside is None else None
    return _record(sample, completion, num_tokens, fault, "" if inside is None else inside.strip())


def unanswered(sample: BenchmarkSample, fault: AnswerFault) -> dict[str, Any]:
    """The line of a sample that could not be asked."""
    return _record(sample, "", 0, fault, "")


def _record(
    sample: BenchmarkSample, completion: str, num_tokens: int, fault: AnswerFault | None, output: str
) -> dict[str, Any]:
    return {
        "id": sample.sample_id,
        "row": sample.row,
        "completion": completion,
        "num_tokens": num_tokens,
        "fault": None if fault is None else fault.value,
        "output": output,
    }
