"""Log-probabilities of whole groups from one forward per prompt instead of one per completion.

Shapes: N = B x G rollouts; B prompts; G generations; C completion tokens; S tokens of the row; H heads of width D.

The prompts of a micro-batch and all that is read of their completions stand in one row without padding. A completion
sees its prompt and itself, and continues the prompt's rotary positions as if it stood alone. Two prompts of three and
two tokens, with two completions each (a, b and c, d); everything else in the mask is empty:

    row        p1 p1 p1 p2 p2 a  a  b  c  c  c  d
    position   0  1  2  0  1  3  4  3  2  3  4  2

    p1         #
    p1         #  #
    p1         #  #  #
    p2                  #
    p2                  #  #
    a          #  #  #        #                        Two kinds of pieces hold every # once:
    a          #  #  #        #  #                     - each prompt and each completion within itself, causal
    b          #  #  #              #                  - all completions of a prompt to all of that prompt
    c                   #  #           #
    c                   #  #           #  #
    c                   #  #           #  #  #
    d                   #  #                    #

On a processor every piece is one call of torch's kernel; a completion's two pieces are merged by the logarithms of
their sums, and the backward pass hands each piece the merged result, which makes its share of the gradient exact.
On a GPU flex_attention skips the empty blocks of the mask; where it cannot (it needs triton), the mask is spelt out.
Neither has been run on a GPU yet.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention

from museg.policy.attention_overrides import attended_by, check_kernel
from museg.policy.compiled_parts import MAX_KINDS_OF_CALLS, compile_backward_too
from museg.policy.fallback import or_plainly
from museg.policy.forward import embed_prompts, run_decoder
from museg.policy.loading import Policy
from museg.policy.log_probs import check_groups, chunked_log_probs
from museg.policy.processing import PromptBatch

_kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_kernel_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward

Piece = tuple[Tensor, Tensor, bool]
"""Places [R, L] of queries and [R, K] of keys in the packed row, and whether they are the same tokens: these come
first, are causal, and hold every token once."""
# Runs of tokens, and groups, whose lengths round up to the same multiple of these share a call.
RUN_TOKENS, GROUP_TOKENS = 8, 64


def shared_prefix_log_probs(
    policy: Policy,
    batch: PromptBatch,
    completion_ids: Tensor,
    completion_mask: Tensor,
    num_generations: int,
    *,
    chunk_tokens: int | None = None,
) -> Tensor:
    """Return the log-probability [N, C], float32, of every completion token given all before it; 0 where masked.

    Arguments, result and gradients are those of `museg.policy.log_probs.completion_log_probs`, up to rounding.
    """
    mask = completion_mask.bool()
    check_groups(batch, completion_ids, num_generations)
    check_kernel(policy.model.config.text_config, instead="objective.shared_prefix=false")
    row = PackedRow.of(batch, mask, num_generations)
    prompts = embed_prompts(policy, batch)[batch.attention_mask.bool()]
    completions = policy.model.model.language_model.embed_tokens(completion_ids[row.is_read])
    embeds = torch.cat([prompts, completions.to(prompts.dtype)])[None]  # [1, S, hidden]
    hidden = run_decoder(policy, embeds, row.position_ids, **attended_by(partial(attention_for(policy.device), row)))[0]
    before = hidden.index_select(0, row.place_before[mask])  # [scored tokens, hidden]
    values = chunked_log_probs(policy, before, completion_ids[mask], chunk_tokens)
    return values.new_zeros(mask.shape).masked_scatter(mask, values)


@dataclass(frozen=True)
class PackedRow:
    """Where everything stands: all prompts in order, then all completions in order without their last tokens."""

    is_read: Tensor  # [N, C] bool, completion tokens that stand in the row: nothing is predicted from a last one
    place_before: Tensor  # [N, C] long, place of the token that each completion token is predicted from
    position_ids: Tensor  # [3, 1, S] long, rotary positions
    prompt_of: Tensor  # [S] long
    completion_of: Tensor  # [S] long, -1 within prompts
    lengths: Tensor  # [B + N] long, tokens of each prompt and of what is read of each completion

    @classmethod
    def of(cls, batch: PromptBatch, mask: Tensor, num_generations: int) -> "PackedRow":
        """Pack the prompts of `batch` and completions with `mask` [N, C]."""
        device, is_prompt, num_prompts = mask.device, batch.attention_mask.bool(), len(batch.attention_mask)
        group_of = torch.arange(num_prompts, device=device).repeat_interleave(num_generations)  # [N]
        is_read = torch.cat([mask[:, 1:], mask.new_zeros(len(mask), 1)], dim=1)
        lengths = torch.cat([is_prompt.sum(dim=1), is_read.sum(dim=1)])  # [B + N] of prompts, then completions
        starts = lengths.cumsum(0) - lengths
        steps = torch.arange(mask.shape[1], device=device)
        places = starts[num_prompts:, None] + steps  # [N, C] of each token that is read
        last_of_prompt = (starts + lengths - 1)[group_of, None]  # [N, 1]
        positions = (batch.next_position[group_of, None] + steps)[is_read]  # [S - tokens of prompts]
        return cls(
            is_read=is_read,
            place_before=torch.cat([last_of_prompt, places[:, :-1]], dim=1),
            position_ids=torch.cat([batch.position_ids[:, is_prompt], positions.expand(3, -1)], dim=1)[:, None],
            prompt_of=torch.cat([group_of[::num_generations], group_of]).repeat_interleave(lengths),
            completion_of=torch.arange(-num_prompts, len(mask), device=device).clamp(min=-1).repeat_interleave(lengths),
            lengths=lengths,
        )

    @cached_property
    def pieces(self) -> list[Piece]:
        """What is seen, as a few calls of a kernel."""
        starts, num_prompts = self.lengths.cumsum(0) - self.lengths, int(self.prompt_of.max()) + 1
        return _within(starts, self.lengths) + _across(starts, self.lengths, num_prompts)

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether the tokens at places `query` see those at places `key`."""
        is_prompt = self.completion_of[key] < 0
        is_own = self.completion_of[query] == self.completion_of[key]
        return (query >= key) & (self.prompt_of[query] == self.prompt_of[key]) & (is_prompt | is_own)

    @cached_property
    def mask(self) -> Tensor:
        """The mask spelt out: [S, S] bool."""
        places = torch.arange(len(self.prompt_of), device=self.prompt_of.device)
        return self.sees(places[:, None], places)

    @cached_property
    def block_mask(self) -> BlockMask:
        """The mask by blocks, for flex_attention."""
        size, device = len(self.prompt_of), self.prompt_of.device
        return create_block_mask(lambda _b, _h, query, key: self.sees(query, key), None, None, size, size, device)


def _within(starts: Tensor, lengths: Tensor) -> list[Piece]:
    """Runs of tokens that see themselves; those of about one length together."""
    kinds, blank = -(-lengths // RUN_TOKENS), int(lengths.sum())
    alike = [kinds == kind for kind in kinds[kinds > 0].unique()]
    runs = [_places(starts[chosen], lengths[chosen], blank) for chosen in alike]
    return [(places, places, True) for places in runs]


def _across(starts: Tensor, lengths: Tensor, num_prompts: int) -> list[Piece]:
    """All that is read of a prompt's completions, which stand next to each other, to it; alike prompts together."""
    groups, blank = lengths[num_prompts:].view(num_prompts, -1).sum(dim=1), int(lengths.sum())
    begins = starts[num_prompts:].view(num_prompts, -1)[:, 0]
    starts, lengths = starts[:num_prompts], lengths[:num_prompts]
    kinds, kind_of = torch.stack([lengths, -(-groups // GROUP_TOKENS)]).unique(dim=1, return_inverse=True)
    alike = [kind_of == kind for kind in range(kinds.shape[1]) if kinds[1, kind]]
    return [(_places(begins[p], groups[p], blank), _places(starts[p], lengths[p], blank), False) for p in alike]


def _places(starts: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """Places [R, longest] of runs of tokens; `blank` beyond the end of shorter ones."""
    steps = torch.arange(int(lengths.max()), device=starts.device)
    return torch.where(steps < lengths[:, None], starts[:, None] + steps, blank)


class _Pieces(torch.autograd.Function):
    """Attention [S, H, D] from queries [S, H, D], keys and values [S, key heads, D], piece by piece."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, pieces: list[Piece], scale: float) -> Tensor:
        """Add the pieces up, each weighted by its share of the sum that softmax divides by."""
        # a blank token at place S fills up shorter runs: no other sees it, its result is dropped, its gradient is zero
        query, key, value = (pad(tensor, (0, 0, 0, 0, 0, 1)) for tensor in (query, key, value))
        merged = query.new_zeros(query.shape, dtype=torch.promote_types(query.dtype, torch.float32))
        log_sums = merged.new_zeros(query.shape[:2])  # [S + 1, H]
        for queries, keys, is_own in pieces:
            parts = _heads_first(query.shape[1], query[queries], key[keys], value[keys])
            output, log_sum = (found.transpose(1, 2) for found in _kernel(*parts, 0.0, is_own, scale=scale))
            if not is_own:
                old, new = log_sums[queries], log_sum
                log_sum = torch.logaddexp(old, new)
                output = merged[queries] * (old - log_sum).exp()[..., None] + output * (new - log_sum).exp()[..., None]
            merged[queries], log_sums[queries] = output.to(merged.dtype), log_sum.to(merged.dtype)
        merged = merged.to(query.dtype)
        ctx.save_for_backward(query, key, value, merged, log_sums)
        ctx.pieces, ctx.scale = pieces, scale
        return merged[:-1]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Every piece's gradient follows from the merged output and the merged sums."""
        query, key, value, merged, log_sums = ctx.saved_tensors
        gradient = pad(gradient, (0, 0, 0, 0, 0, 1))
        totals = [torch.empty_like(tensor) for tensor in (query, key, value)]
        for queries, keys, is_own in ctx.pieces:
            parts = gradient[queries], query[queries], key[keys], value[keys], merged[queries]
            parts, log_sum = _heads_first(query.shape[1], *parts), log_sums[queries].transpose(1, 2)
            found = _kernel_backward(*parts, log_sum, 0.0, is_own, scale=ctx.scale)
            for total, places, part in zip(totals, (queries, keys, keys), found, strict=True):
                part = part.transpose(1, 2)
                if part.shape[2] > total.shape[1]:  # query heads that share a key head add up
                    part = part.unflatten(2, (total.shape[1], -1)).sum(dim=3)
                total[places] = part if is_own else total[places] + part
        return *(total[:-1] for total in totals), None, None


def _heads_first(num_heads: int, *tensors: Tensor) -> list[Tensor]:
    """From [R, L, heads, D] to [R, H, L, D], key heads repeated for the query heads that share them."""
    repeated = (t if t.shape[2] == num_heads else t.repeat_interleave(num_heads // t.shape[2], dim=2) for t in tensors)
    return [tensor.transpose(1, 2) for tensor in repeated]


def attend_in_pieces(row: PackedRow, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """On a processor: queries [1, H, S, D], keys and values [1, key heads, S, D] to [1, S, H, D]."""
    query, key, value = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
    return _Pieces.apply(query, key, value, row.pieces, module.scaling)[None]


def attend_by_blocks(row: PackedRow, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same by flex_attention, which passes over empty blocks; needs triton."""
    parts = (query.to(value.dtype), key.to(value.dtype), value)
    return _compiled_flex()(*parts, block_mask=row.block_mask, scale=module.scaling, enable_gqa=True).transpose(1, 2)


@cache
def _compiled_flex() -> Callable[..., Tensor]:
    """Compiled once for rows of any length; uncompiled it would spell all scores out, so it is whole or an error."""
    compile_backward_too()
    return torch.compile(flex_attention, dynamic=True, fullgraph=True, recompile_limit=MAX_KINDS_OF_CALLS)


def attend_by_mask(row: PackedRow, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same by the mask spelt out: works wherever torch does."""
    # shared key heads are repeated: with a mask, the kernels of a GPU that share them are passed over
    key, value = (tensor.repeat_interleave(query.shape[1] // tensor.shape[1], dim=1) for tensor in (key, value))
    parts = (query.to(value.dtype), key.to(value.dtype), value)
    return scaled_dot_product_attention(*parts, attn_mask=row.mask, scale=module.scaling).transpose(1, 2)


attend_by_blocks_or_mask = or_plainly(attend_by_blocks, attend_by_mask, "flex_attention", "its mask is spelt out")


def attention_for(device: torch.device) -> Callable[..., Tensor]:
    """The way of attending that suits a device."""
    if device.type == "cpu":
        return attend_in_pieces
    return attend_by_blocks_or_mask if importlib.util.find_spec("triton") else attend_by_mask
