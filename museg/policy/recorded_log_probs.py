"""Log-probabilities of given completions, one for each prompt, with the states that engines record while generating.

Shapes: B prompts and completions; P prompt tokens; C completion tokens.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from museg.policy.forward import embed_prompts
from museg.policy.layer_states import captured_states
from museg.policy.loading import Policy
from museg.policy.log_probs import before_completions, check_groups, chunked_log_probs, forwarded
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers, video_slots


@dataclass(frozen=True)
class RecordedLogProbs:
    """States are those of `museg.policy.engine.Rollouts`, but differentiable, and at padding they are anything."""

    log_probs: Tensor  # [B, C] float32 or better, 0 where masked
    token_states: Tensor  # [B, C, hidden] that predict each token
    frame_states: Tensor  # [video tokens of all prompts, hidden] in their order


def recorded_log_probs(
    policy: Policy, batch: PromptBatch, completion_ids: Tensor, completion_mask: Tensor, record: RecordedLayers
) -> RecordedLogProbs:
    """What `museg.policy.log_probs.completion_log_probs` returns for one completion a prompt, and the states of layers.

    All rows pass the decoder at once. Raises ValueError for another number of completions, and for a layer that the
    decoder does not have.
    """
    check_groups(batch, completion_ids, 1)
    every = torch.arange(len(completion_ids), device=completion_ids.device)
    mask, num_completion = completion_mask.bool(), completion_ids.shape[1]
    with captured_states(policy, {record.token_layer, record.frame_layer}) as states:
        hidden = forwarded(policy, batch, embed_prompts(policy, batch), completion_ids, every)
        tokens, frames = states[record.token_layer], states[record.frame_layer]
    scored = before_completions(hidden, batch, num_completion, every)[mask]  # [M, hidden]
    values = chunked_log_probs(policy, scored, completion_ids[mask], None)
    is_video = video_slots(policy, batch)  # [B, P]
    return RecordedLogProbs(
        log_probs=values.new_zeros(mask.shape).masked_scatter(mask, values),
        token_states=before_completions(tokens, batch, num_completion, every),
        frame_states=frames[:, : is_video.shape[1]][is_video],
    )
