"""Log-probabilities of completions under a model, the way training differentiates them.

Shapes: N = B x G rollouts; B prompts; G generations; P prompt tokens; C completion tokens; M scored tokens (those the
mask keeps); V vocabulary.

The prompt is forwarded once for each of its completions; its embeddings, and with them the vision tower, only once.
`museg.policy.shared_prefix` forwards it once for all of them, and is compared with this.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from museg.policy.forward import drop_left_padding, embed_prompts, run_decoder
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch

# Rows per pass through the decoder. Rows of similar length go together, so that short ones carry little padding.
ROWS_PER_PASS = 32
CHUNK_TOKENS = 128
"""Tokens whose logits exist at one time: 74 MiB of the published vocabulary in float32. More where it is small:"""
LOGITS_PER_CHUNK = 2**21


def completion_log_probs(
    policy: Policy,
    batch: PromptBatch,
    completion_ids: Tensor,
    completion_mask: Tensor,
    num_generations: int,
    *,
    chunk_tokens: int | None = None,
) -> Tensor:
    """Return the log-probability [N, C], float32, of every completion token given all before it; 0 where masked.

    No temperature: the model's own distribution over all tokens.

    Args:
        completion_ids: [N, C], padded on the right; the G rows of a prompt stand together. Ids of placeholders are
            treated as any other token.
        completion_mask: [N, C], nonzero at tokens that count; each row's begin at its start.
        chunk_tokens: tokens whose V logits exist at one time; in the backward pass they are computed again. None: as
            many as make `LOGITS_PER_CHUNK` logits, at least `CHUNK_TOKENS`.

    **Source:** THUNLP-MT/MUSEG 889565e, src/trainer.py (per-token log-probabilities).
    """
    mask = completion_mask.bool()
    check_groups(batch, completion_ids, num_generations)
    prompt_embeds = embed_prompts(policy, batch)  # [B, P, hidden]
    group_of = torch.arange(len(batch.examples), device=mask.device).repeat_interleave(num_generations)
    num_tokens = mask.sum(dim=1) - batch.num_padding[group_of]
    index, values = [], []
    for rows in num_tokens.argsort(stable=True).split(ROWS_PER_PASS):
        ids, kept = _trimmed(completion_ids[rows], mask[rows])
        hidden = _completion_hidden(policy, batch, prompt_embeds, ids, group_of[rows])  # [rows, C, hidden]
        scored_rows, scored_places = kept.nonzero(as_tuple=True)
        targets = ids[scored_rows, scored_places]  # [M]
        values.append(chunked_log_probs(policy, hidden[scored_rows, scored_places], targets, chunk_tokens))
        index.append(torch.stack([rows[scored_rows], scored_places]))
    log_probs = values[0].new_zeros(mask.shape)
    return log_probs.index_put(tuple(torch.cat(index, dim=1)), torch.cat(values))


def check_groups(batch: PromptBatch, completion_ids: Tensor, num_generations: int) -> None:
    """Raise ValueError unless there are G completions for every prompt."""
    if len(completion_ids) != len(batch.examples) * num_generations:
        raise ValueError(
            f"{len(completion_ids)} completions for {len(batch.examples)} prompts x num_generations={num_generations}: "
            "give every prompt its whole group"
        )


def _trimmed(completion_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    longest = max(int(mask.sum(dim=1).max()), 1)
    return completion_ids[:, :longest], mask[:, :longest]


def _completion_hidden(
    policy: Policy, batch: PromptBatch, prompt_embeds: Tensor, completion_ids: Tensor, group_of: Tensor
) -> Tensor:
    """Return the hidden state before each completion token: [rows, C, hidden]."""
    padding = batch.num_padding[group_of]
    read_ids = completion_ids[:, :-1]  # nothing is predicted from the last token
    completion_embeds = policy.model.model.language_model.embed_tokens(read_ids)
    embeds = torch.cat([prompt_embeds[group_of], completion_embeds.to(prompt_embeds.dtype)], dim=1)
    steps = torch.arange(read_ids.shape[1], device=read_ids.device)
    completion_positions = (batch.next_position[group_of, None] + steps).expand(3, -1, -1)
    positions = torch.cat([batch.position_ids[:, group_of], completion_positions], dim=2)  # [3, rows, P + C - 1]
    hidden = run_decoder(
        policy,
        drop_left_padding(embeds, padding),
        drop_left_padding(positions.permute(1, 2, 0), padding).permute(2, 0, 1),
    )
    num_completion = completion_ids.shape[1]
    if not padding.any():
        return hidden[:, -num_completion:]
    first = batch.input_ids.shape[1] - padding - 1  # [rows] the prompt's last token
    places = first[:, None] + torch.arange(num_completion, device=first.device)
    return hidden[torch.arange(len(hidden), device=hidden.device)[:, None], places]


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability [M] of each target [M] under logits [M, V], in float32 or better."""
    at_least_float32 = torch.promote_types(logits.dtype, torch.float32)
    return -cross_entropy(logits.to(at_least_float32), targets, reduction="none")


def chunked_log_probs(policy: Policy, hidden: Tensor, targets: Tensor, chunk_tokens: int | None) -> Tensor:
    """Return log-probabilities [M] of `targets` [M] after hidden states [M, hidden]."""

    def chunk_log_probs(hidden: Tensor, targets: Tensor) -> Tensor:
        return token_log_probs(policy.model.lm_head(hidden), targets)

    chunk_tokens = chunk_tokens or max(LOGITS_PER_CHUNK // policy.model.config.text_config.vocab_size, CHUNK_TOKENS)
    if len(hidden) <= chunk_tokens:
        return chunk_log_probs(hidden, targets)
    chunks = zip(hidden.split(chunk_tokens), targets.split(chunk_tokens), strict=True)
    return torch.cat([checkpoint(chunk_log_probs, *chunk, use_reentrant=False) for chunk in chunks])
