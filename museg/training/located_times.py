"""Answers without times: segments are where the heads find the events that a text names."""

from museg.dialogue.responses import Fault, ParsedResponse
from museg.meco.alignment import AlignmentHeads
from museg.meco.find_events import find_events
from museg.meco.localization import LocalizationSettings
from museg.meco.located import asked_segments
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import Rollouts
from museg.temporal.segments import Segment
from museg.training.held_out import ReadAnswer


class LocatedTimes:
    """Segments by similarity: of a question that asks for one segment the best one, of others all, by time."""

    def __init__(self, heads: AlignmentHeads, layers: RecordedLayers, settings: LocalizationSettings) -> None:
        self.heads, self.record, self.settings = heads, layers, settings

    def read(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[ReadAnswer]:
        """One for each prompt; an answer without an event, or whose events are nowhere, has no segment."""
        found = find_events(self.heads, policy, prompts, answers, self.settings)
        return [
            _as_read(text, asked_segments(one.segments, example.task))
            for text, one, example in zip(answers.texts, found, prompts.examples, strict=True)
        ]


def _as_read(text: str, segments: tuple[Segment, ...]) -> ReadAnswer:
    """In the words of the readers of written times: the answer is well formed where it has a segment."""
    boundaries_s = tuple(time_s for segment in segments for time_s in segment)
    read = ParsedResponse(text, None, None, segments, None if segments else Fault.NO_ANSWER, boundaries_s)
    return ReadAnswer(read, read)
