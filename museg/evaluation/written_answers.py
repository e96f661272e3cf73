"""Models that reason and write times: one wording for all questions, and the answer is the inside of the only block."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.dialogue.responses import read_lenient
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.answer_records import line_of
from museg.evaluation.samples import BenchmarkSample, example_of
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.rollout import Rollouts


class WrittenAnswers:
    """See `museg.evaluation.answering.Asking`."""

    record = None

    def __init__(self, wording: PromptWording) -> None:
        self.wording = wording

    def facts(self) -> dict[str, Any]:
        """The wording."""
        return {"wording": asdict(self.wording)}

    def check(self, policy: Policy) -> None:
        """Every model writes."""

    def example_of(self, sample: BenchmarkSample) -> GroundingExample:
        """The question as the benchmark asks it."""
        return example_of(sample, sample.question)

    def wording_of(self, task: str) -> PromptWording:
        """The only one."""
        return self.wording

    def records(
        self, policy: Policy, samples: Sequence[BenchmarkSample], prompts: PromptBatch, answers: Rollouts
    ) -> list[dict[str, Any]]:
        """What stands in the answer blocks."""
        lengths = answers.completion_mask.sum(dim=1).tolist()
        return [answer_record(*answered) for answered in zip(samples, answers.texts, lengths, strict=True)]


def answer_record(sample: BenchmarkSample, completion: str, num_tokens: int) -> dict[str, Any]:
    """The line of an answered sample; `output` is the stripped inside of the only answer block."""
    inside = read_lenient(completion).answer
    fault = AnswerFault.NO_ANSWER_BLOCK if inside is None else None
    return line_of(sample, completion, num_tokens, fault, "" if inside is None else inside.strip())
