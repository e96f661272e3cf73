"""What the heads find of answers that were just written, from the states recorded meanwhile."""

from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings
from museg.meco.located import Located, located
from museg.meco.sample_states import sample_states
from museg.meco.tokens import structural_ids
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import video_grids
from museg.policy.rollout import Rollouts


def find_events(
    heads: AlignmentHeads, policy: Policy, prompts: PromptBatch, answers: Rollouts, settings: LocalizationSettings
) -> list[Located]:
    """What is found of every answer; `answers` are one completion a prompt, with their states."""
    states = sample_states(
        structural_ids(policy.tokenizer),
        answers.completion_ids,
        answers.completion_mask,
        answers.token_states,
        answers.frame_states,
        video_grids(prompts),
        policy.model.config.vision_config.spatial_merge_size,
    )
    return located(heads, states, prompts.second_per_grid_ts.tolist(), prompts.filled_steps, settings)
