"""Models that write events instead of times: heads find the segments, which stand in the answers that readers know.

A question about times is put as training put it: cut where it asks for a form of times, with words of ours behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from museg.data.examples import GroundingExample
from museg.dialogue.event_questions import EventQuestion
from museg.dialogue.prompts import PromptWording
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.answer_records import line_of
from museg.evaluation.located_texts import IN_WORDS, answer_text
from museg.evaluation.samples import BenchmarkSample, example_of
from museg.evaluation.saved_answers import SALIENCY, WINDOWS
from museg.meco.exported import Alignment
from museg.meco.find_events import find_events
from museg.meco.localization import LocalizationSettings
from museg.meco.located import Located
from museg.meco.saliency import clip_saliency, event_saliency
from museg.meco.tokens import structural_ids
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import Rollouts

MOMENT_RETRIEVAL = "mr"
"""The task of which scored windows and saliency are asked for."""
DIGITS = 6
"""Significant ones that a record keeps of times and scores: those behind depend on what was answered together."""


@dataclass(frozen=True, kw_only=True)
class TaskQuestion(EventQuestion):
    """What becomes of the questions of one task; `wording`: another one than that of all other tasks, None for none."""

    wording: str | None = None


@dataclass(frozen=True)
class StructureWordings:
    """How such a model is asked: wordings by name, which of them is usual, and what becomes of a task's questions."""

    wordings: Mapping[str, PromptWording]
    usual: str
    questions: Mapping[str, TaskQuestion]

    def __post_init__(self) -> None:
        named = {self.usual, *(question.wording or self.usual for question in self.questions.values())}
        if unknown := sorted(named - self.wordings.keys()):
            raise ValueError(
                f"there is no wording {', '.join(unknown)} in benchmark.structure.prompt: choose of "
                f"{', '.join(sorted(self.wordings))}"
            )


class LocatedAnswers:
    """See `museg.evaluation.answering.Asking`; `localization` says how rows of similarities become segments."""

    def __init__(self, wordings: StructureWordings, alignment: Alignment, localization: LocalizationSettings) -> None:
        self.wordings, self.heads, self.localization = wordings, alignment.heads, localization
        self.record = RecordedLayers(alignment.facts.token_layer, alignment.facts.frame_layer)

    def facts(self) -> dict[str, Any]:
        """The wordings in use, what becomes of questions, and the localization."""
        used = {self.wordings.usual, *(one.wording or self.wordings.usual for one in self.wordings.questions.values())}
        return {
            "answers": "located",
            "wording": {name: asdict(self.wordings.wordings[name]) for name in sorted(used)},
            "usual_wording": self.wordings.usual,
            "questions": {task: asdict(question) for task, question in sorted(self.wordings.questions.items())},
            "localization": asdict(self.localization),
        }

    def check(self, policy: Policy) -> None:
        """Raise ValueError for a model without the structural tokens, or of another width than the heads are for."""
        structural_ids(policy.tokenizer)
        width, wanted = policy.model.config.text_config.hidden_size, self.heads.token_head[0].normalized_shape[0]
        if width != wanted:
            raise ValueError(
                f"the heads beside the model are for one that is {wanted} wide, and this one is {width} wide: copy the "
                "files of one export together"
            )

    def example_of(self, sample: BenchmarkSample) -> GroundingExample:
        """The question of its task."""
        question = self.wordings.questions.get(sample.task)
        return example_of(sample, sample.question if question is None else question.of(sample.question))

    def wording_of(self, task: str) -> PromptWording:
        """The task's own, else the usual one."""
        question = self.wordings.questions.get(task)
        return self.wordings.wordings[(question and question.wording) or self.wordings.usual]

    def records(
        self, policy: Policy, samples: Sequence[BenchmarkSample], prompts: PromptBatch, answers: Rollouts
    ) -> list[dict[str, Any]]:
        """Answers in the forms that readers know, and the segments they are made of."""
        found = find_events(self.heads.to(policy.device), policy, prompts, answers, self.localization)
        lengths = answers.completion_mask.sum(dim=1).tolist()
        return [located_record(*answered) for answered in zip(samples, answers.texts, lengths, found, strict=True)]


def located_record(sample: BenchmarkSample, completion: str, num_tokens: int, found: Located) -> dict[str, Any]:
    """The line of an answered sample: `output` in the form of its task, and `located`, the segments, best first.

    An answer to moment retrieval has scored windows and the saliency of clips besides.
    """
    output = answer_text(sample, completion, found)
    nothing = AnswerFault.EMPTY if sample.task in IN_WORDS else AnswerFault.NO_EVENT
    line = line_of(sample, completion, num_tokens, None if output else nothing, output)
    windows = [tuple(map(_short, (*scored.segment, scored.score))) for scored in found.segments]
    if sample.task == MOMENT_RETRIEVAL and windows:
        saliency = event_saliency(found.rows, found.kinds, found.scale)
        scores = clip_saliency(saliency, found.seconds_per_step, sample.duration_s)
        line |= {WINDOWS: windows, SALIENCY: list(map(_short, scores))}
    tokens = [scored.row for scored in found.segments]
    return line | {
        "located": [
            {"segment": window[:2], "score": window[2], "token": token}
            for window, token in zip(windows, tokens, strict=True)
        ]
    }


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
