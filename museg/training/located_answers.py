"""Answers without times: segments are where the heads find the events that a text names."""

from collections.abc import Sequence

import torch

from museg.dialogue.responses import Fault, ParsedResponse
from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings, ScoredSegment, locate, scored_segments
from museg.meco.sample_states import sample_states, similarity_rows
from museg.meco.tokens import structural_ids
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import Rollouts
from museg.temporal.segments import Segment
from museg.training.held_out import ReadAnswer

SINGLE_TASKS = ("tvg", "epm", "gvq", "tem")
"""Tasks that ask for one segment. **Source:** pangzss/MeCo d3ed11b, tools/compute_metrics.py."""


class LocatedTimes:
    """Segments by similarity: of a question that asks for one segment the best one, of others all, by time."""

    def __init__(self, heads: AlignmentHeads, layers: RecordedLayers, settings: LocalizationSettings) -> None:
        self.heads, self.record, self.settings = heads, layers, settings

    def read(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[ReadAnswer]:
        """One for each prompt; an answer without an event, or whose events are nowhere, has no segment."""
        located = self.located(policy, prompts, answers)
        return [
            _as_read(text, segments_of(found, example.task))
            for text, found, example in zip(answers.texts, located, prompts.examples, strict=True)
        ]

    def located(self, policy: Policy, prompts: PromptBatch, answers: Rollouts) -> list[list[ScoredSegment]]:
        """The segments of every answer, best first; `answers` are one completion a prompt, with their states."""
        samples = sample_states(
            structural_ids(policy.tokenizer),
            answers.completion_ids,
            answers.completion_mask,
            answers.token_states,
            answers.frame_states,
            video_grids(prompts),
            policy.model.config.vision_config.spatial_merge_size,
        )
        with torch.no_grad():
            rows, scale = similarity_rows(self.heads, samples)
        found = []
        for sample, cosines, seconds in zip(samples, rows, prompts.second_per_grid_ts.tolist(), strict=True):
            has_rows = bool(sample.kinds) and cosines.shape[1] > 0
            runs = locate(cosines.cpu().numpy(), sample.kinds, float(scale), self.settings) if has_rows else []
            found.append(scored_segments(runs, seconds, self.settings) if has_rows else [])
        return found


def video_grids(prompts: PromptBatch) -> list[tuple[int, int, int] | None]:
    """Patches in time, height and width of each prompt's video; None where it shows a picture."""
    return [
        tuple(grid) if example.media == "video" else None
        for grid, example in zip(prompts.grid_thw.tolist(), prompts.examples, strict=True)
    ]


def segments_of(found: Sequence[ScoredSegment], task: str) -> tuple[Segment, ...]:
    """What answers a question of that kind."""
    chosen = found[:1] if task in SINGLE_TASKS else found
    return tuple(sorted(scored.segment for scored in chosen))


def _as_read(text: str, segments: tuple[Segment, ...]) -> ReadAnswer:
    """In the words of the readers of written times: the answer is well formed where it has a segment."""
    boundaries_s = tuple(time_s for segment in segments for time_s in segment)
    read = ParsedResponse(text, None, None, segments, None if segments else Fault.NO_ANSWER, boundaries_s)
    return ReadAnswer(read, read)
