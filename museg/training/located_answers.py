"""Answers without times: segments are where the heads find the events that a text names."""

from museg.dialogue.responses import Fault, ParsedResponse
from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings
from museg.meco.located import Located, asked_segments, located
from museg.meco.sample_states import sample_states
from museg.meco.tokens import structural_ids
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers, video_grids
from museg.policy.rollout import Rollouts
from museg.temporal.segments import Segment
from museg.training.held_out import ReadAnswer


class LocatedTimes:
    """Segments by similarity: of a question that asks for one segment the best one, of others all, by time."""

    def __init__(self, heads: AlignmentHeads, layers: RecordedLayers, settings: LocalizationSettings) -> None:
        self.heads, self.record, self.settings = heads, layers, settings

    def read(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[ReadAnswer]:
        """One for each prompt; an answer without an event, or whose events are nowhere, has no segment."""
        found = self.located(policy, prompts, answers)
        return [
            _as_read(text, asked_segments(one.segments, example.task))
            for text, one, example in zip(answers.texts, found, prompts.examples, strict=True)
        ]

    def located(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[Located]:
        """What is found of every answer; `answers` are one completion a prompt, with their states."""
        samples = sample_states(
            structural_ids(policy.tokenizer),
            answers.completion_ids,
            answers.completion_mask,
            answers.token_states,
            answers.frame_states,
            video_grids(prompts),
            policy.model.config.vision_config.spatial_merge_size,
        )
        return located(self.heads, samples, prompts.second_per_grid_ts.tolist(), self.settings)


def _as_read(text: str, segments: tuple[Segment, ...]) -> ReadAnswer:
    """In the words of the readers of written times: the answer is well formed where it has a segment."""
    boundaries_s = tuple(time_s for segment in segments for time_s in segment)
    read = ParsedResponse(text, None, None, segments, None if segments else Fault.NO_ANSWER, boundaries_s)
    return ReadAnswer(read, read)
