"""Log-probabilities of completions under a model, the way training differentiates them.

Shapes: N = B x G rollouts; B prompts; G generations; P prompt tokens; C completion tokens; M scored tokens (those the
mask keeps); V vocabulary.

The prompt is forwarded once for each of its completions; its embeddings, and with them the vision tower, only once.
`museg.policy.shared_prefix` forwards it once for all of them, and is compared with this.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear
from torch.utils.checkpoint import checkpoint

from museg.policy.forward import drop_left_padding, embed_prompts, run_decoder
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch

# Rows per pass through the decoder. Rows of similar length go together, so that short ones carry little padding.
ROWS_PER_PASS = 32
# Tokens whose logits exist at one time: 74 MiB of the published vocabulary in float32, and more where it is small. On a
# GPU each chunk adds to the gradient of the whole head, which is to be done seldom.
CHUNK_TOKENS = 128
LOGITS_PER_CHUNK = 2**21
GPU_CHUNK_TOKENS = 1024


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
            many as make `LOGITS_PER_CHUNK` logits, at least `CHUNK_TOKENS` (`GPU_CHUNK_TOKENS`).

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
    hidden = forwarded(policy, batch, prompt_embeds, completion_ids, group_of)
    return before_completions(hidden, batch, completion_ids.shape[1], group_of)


def forwarded(
    policy: Policy, batch: PromptBatch, prompt_embeds: Tensor, completion_ids: Tensor, group_of: Tensor
) -> Tensor:
    """Return the hidden states [rows, P + C - 1, hidden] of prompts and completions; rows start at their first token.

    Nothing is read of a completion's last token, from which nothing is predicted.
    """
    padding = batch.num_padding[group_of]
    read_ids = completion_ids[:, :-1]
    completion_embeds = policy.model.model.language_model.embed_tokens(read_ids)
    embeds = torch.cat([prompt_embeds[group_of], completion_embeds.to(prompt_embeds.dtype)], dim=1)
    steps = torch.arange(read_ids.shape[1], device=read_ids.device)
    completion_positions = (batch.next_position[group_of, None] + steps).expand(3, -1, -1)
    positions = torch.cat([batch.position_ids[:, group_of], completion_positions], dim=2)  # [3, rows, P + C - 1]
    return run_decoder(
        policy,
        drop_left_padding(embeds, padding),
        drop_left_padding(positions.permute(1, 2, 0), padding).permute(2, 0, 1),
    )


def before_completions(states: Tensor, batch: PromptBatch, num_completion: int, group_of: Tensor) -> Tensor:
    """Return of states [rows, P + C - 1, hidden] those before each of C completion tokens: [rows, C, hidden]."""
    padding = batch.num_padding[group_of]
    if not padding.any():
        return states[:, -num_completion:]
    first = batch.input_ids.shape[1] - padding - 1  # [rows] the prompt's last token
    places = first[:, None] + torch.arange(num_completion, device=first.device)
    return states[torch.arange(len(states), device=states.device)[:, None], places]


def token_log_probs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability [M] of each target [M] under logits [M, V], in float32 or better."""
    at_least_float32 = torch.promote_types(logits.dtype, torch.float32)
    return -cross_entropy(logits.to(at_least_float32), targets, reduction="none")


def chunked_log_probs(policy: Policy, hidden: Tensor, targets: Tensor, chunk_tokens: int | None) -> Tensor:
    """Return log-probabilities [M] of `targets` [M] after hidden states [M, hidden]."""
    head = policy.model.lm_head
    least = GPU_CHUNK_TOKENS if head.weight.is_cuda else CHUNK_TOKENS
    chunk_tokens = chunk_tokens or max(LOGITS_PER_CHUNK // len(head.weight), least)
    if len(hidden) <= chunk_tokens:
        return token_log_probs(head(hidden), targets)
    if type(head) is nn.Linear:
        return _HeadLogProbs.apply(hidden, head.weight, targets, chunk_tokens)
    chunks = zip(hidden.split(chunk_tokens), targets.split(chunk_tokens), strict=True)  # an adapter: to be called
    return torch.cat([checkpoint(_called_log_probs, head, *chunk, use_reentrant=False) for chunk in chunks])


def _called_log_probs(head: nn.Module, hidden: Tensor, targets: Tensor) -> Tensor:
    return token_log_probs(head(hidden), targets)


class _HeadLogProbs(torch.autograd.Function):
    """Language head and log-softmax in chunks of tokens: each pass holds the logits of one chunk, and none are kept.

    Were the library to recompute the chunks, each would make a gradient of the weights of its own, to be added to that
    of the others. Here they share one, and the gradient of the logits takes the place of the logits.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk_tokens: int) -> Tensor:
        """Keep nothing but the results: once the logits are made again, these tell what softmax divides by."""
        chunks = zip(hidden.split(chunk_tokens), targets.split(chunk_tokens), strict=True)
        log_probs = torch.cat([token_log_probs(linear(part, weight), wanted) for part, wanted in chunks])
        ctx.save_for_backward(hidden, weight, targets, log_probs)
        ctx.chunk_tokens, device = chunk_tokens, hidden.device.type
        ctx.dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        return log_probs

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of hidden states and weights, chunk by chunk."""
        hidden, weight, targets, log_probs = ctx.saved_tensors
        of_hidden, of_weight = torch.empty_like(hidden), torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        read, read_weight = hidden.to(ctx.dtype), weight.to(ctx.dtype)
        rows = (tensor.split(ctx.chunk_tokens) for tensor in (read, targets, log_probs, gradient, of_hidden))
        for part, *known, part_of_hidden in zip(*rows, strict=True):
            of_logits = _gradient_of_logits(linear(part, read_weight), *known).to(ctx.dtype)
            part_of_hidden.copy_(of_logits @ read_weight)
            if of_weight is not None:
                _add_product(of_weight, of_logits.t(), part)
            del of_logits  # before the next chunk's logits are made
        return of_hidden, of_weight, None, None


def _gradient_of_logits(logits: Tensor, targets: Tensor, log_probs: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient [M, V] of `logits`, in their place, from that of the targets' `log_probs` [M]."""
    logits, targets, gradient = logits.to(log_probs.dtype), targets[:, None], gradient[:, None]
    log_sums = logits.gather(1, targets) - log_probs[:, None]
    return logits.sub_(log_sums).exp_().mul_(-gradient).scatter_add_(1, targets, gradient)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left` @ `right` to `total`; of one type without a place of its own for the product."""
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
