"""Running the model's parts: vision once per prompt, the decoder on embeddings, and moving padding to the right.

Shapes: B prompts; P prompt tokens; R rows (of whatever stands in a batch); L tokens of a row.

A completion may follow a prompt in three places (rollout, training, evaluation). All of them call the decoder here,
with embeddings and positions made by us, so that a video placeholder inside a completion is an ordinary token.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import Cache

from museg.policy.loading import Policy
from museg.policy.positions import is_visual
from museg.policy.processing import PromptBatch
from museg.video.patches import patchify

if TYPE_CHECKING:
    from museg.video.decoding import SampledVideo

# Rows without padding on the left need no mask: each token sees what stands before it in its row.
CAUSAL_ONLY = {"full_attention": None}


def encode_video(policy: Policy, video: "SampledVideo") -> Tensor:
    """Return the features [visual tokens, hidden] of one clip or picture, which depend on nothing but its frames."""
    pixel_values, grid = patchify(torch.as_tensor(video.frames).to(policy.device))
    grid_thw = torch.tensor([grid], device=policy.device)
    return policy.model.model.visual(pixel_values, grid_thw=grid_thw).pooler_output


def embed_prompts(policy: Policy, batch: PromptBatch) -> Tensor:
    """Return the prompts' input embeddings [B, P, hidden], with the features of what they show at the placeholders."""
    model = policy.model.model
    embeds = model.language_model.embed_tokens(batch.input_ids)  # [B, P, hidden]
    features = batch.features
    if features is None:
        features = model.visual(batch.pixel_values, grid_thw=batch.grid_thw).pooler_output
    is_placeholder = is_visual(batch.input_ids, policy.ids.video_id, policy.ids.image_id) & batch.attention_mask.bool()
    return embeds.masked_scatter(is_placeholder[..., None], features.to(embeds.dtype))


def left_aligned(policy: Policy, batch: PromptBatch) -> tuple[Tensor, Tensor]:
    """Return embeddings [B, P, hidden] and positions [3, B, P] of prompts that start at the first slot."""
    padding = batch.num_padding
    positions = drop_left_padding(batch.position_ids.permute(1, 2, 0), padding).permute(2, 0, 1)
    return drop_left_padding(embed_prompts(policy, batch), padding), positions


def run_decoder(
    policy: Policy,
    embeds: Tensor,
    position_ids: Tensor,
    *,
    cache: Cache | None = None,
    key_mask: Tensor | None = None,
    **attention: object,
) -> Tensor:
    """Return the last hidden states [R, L, hidden] of rows that start at their first token.

    Args:
        embeds: [R, L, hidden], continuing what `cache` holds.
        position_ids: [3, R, L].
        key_mask: [R, cached + L], False at cached slots to leave out; None when all count.
        attention: what attends in place of the model's kernel (`museg.policy.attention_overrides`).
    """
    return policy.model.model.language_model(
        inputs_embeds=embeds,
        position_ids=position_ids,
        attention_mask=CAUSAL_ONLY if key_mask is None else key_mask,
        past_key_values=cache,
        use_cache=cache is not None,
        **attention,
    ).last_hidden_state


def drop_left_padding(rows: Tensor, num_padding: Tensor) -> Tensor:
    """Shift every row of [R, L, ...] left by its `num_padding` [R]; what is left over on the right means nothing."""
    if not num_padding.any():
        return rows
    length = rows.shape[1]
    index = (torch.arange(length, device=rows.device) + num_padding[:, None]).clamp(max=length - 1)  # [R, L]
    return rows[torch.arange(len(rows), device=rows.device)[:, None], index]
