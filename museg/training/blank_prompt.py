"""What a process reads that has no prompts left while the others still run theirs: a clip that shows nothing."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from museg.data.clips import LoadedClip
from museg.data.examples import GroundingExample
from museg.dialogue.prompts import PromptWording
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, build_prompt_batch, encode_completions
from museg.video.decoding import SampledVideo

BLANK_CLIP = LoadedClip(
    GroundingExample("blank", "", "", (), None, "tvg", "blank"),
    0,
    SampledVideo(np.zeros((2, 3, 28, 28), np.uint8), np.zeros(2), 1.0, 2.0, 2),
)
BLANK_WORDING = PromptWording(system="", before_video="{query}", after_video="")


def blank_inputs(
    policy: Policy, device: torch.device, max_context_tokens: int, *, has_features: bool
) -> tuple[PromptBatch, Tensor, Tensor]:
    """The prompt of a blank clip, a completion that says nothing about it, and the mask of that.

    `has_features`: those of the clip stand in the prompt, so that nobody calls the vision tower.
    """
    prompts = build_prompt_batch(policy, [BLANK_CLIP], BLANK_WORDING, max_context_tokens=max_context_tokens)
    if has_features:
        is_video = prompts.input_ids == policy.ids.video_id
        blank = torch.zeros(int(is_video.sum()), policy.model.config.text_config.hidden_size, device=device)
        prompts = replace(prompts, features=blank)
    ids, mask = (tensor.to(device) for tensor in encode_completions(policy, [""]))
    return prompts, ids, mask
