"""Attention of many completions to prompts that are held once.

Shapes: B prompts; G rows of each, decoded together; R = B x G; K key heads; Q query heads of a key head; D width of a
head; P tokens of the longest prompt; T own tokens that every row has room for.

In a decoding step each row brings one token, whose queries meet two sets of keys:

    prompt   [B x K, G x Q, D] @ [B x K, D, P]    the rows of a prompt, and the query heads of a key head, are just more
                                                  queries to the same keys, which are neither repeated nor read again
    own      [B x K x G, Q, D] @ [B x K x G, D, T]

One softmax goes over both sets of scores: this is ordinary attention, not an approximation of it. Shapes do not depend
on how much has been written; room for tokens to come is masked like the padding behind shorter prompts.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from museg.policy.prefill import ReadPrompts


class CascadeCache:
    """Keys and values of prompts, and of what their rows have written; all rows have written equally much.

    `step` [1] long: own tokens of every row; the next one goes there.
    """

    def __init__(self, prompts: ReadPrompts, num_rows: int, room: int) -> None:
        self.num_prompts, self.num_key_heads, _, self.width = prompts.keys[0].shape
        self.num_rows, self.room, self.num_tokens = num_rows, room, prompts.num_tokens
        self.step = torch.zeros(1, dtype=torch.long, device=self.num_tokens.device)
        # layer by layer [B x K, P, D] and [B x K x G, T, D]
        self.prompt_keys = [keys.flatten(0, 1) for keys in prompts.keys]
        self.prompt_values = [values.flatten(0, 1) for values in prompts.values]
        shape = (self.num_prompts * self.num_key_heads * num_rows, room, self.width)
        self.own_keys = [keys.new_zeros(shape) for keys in prompts.keys]
        self.own_values = [values.new_zeros(shape) for values in prompts.values]
        self.score_dtype = torch.promote_types(prompts.values[0].dtype, torch.float32)
        self.prompt_bias = self._prompt_bias()
        # [T] added to scores: 0 at own tokens that are there, minus infinity at room for others
        self.own_bias = torch.full((room,), -torch.inf, dtype=self.score_dtype, device=self.step.device)

    def grow(self, room: int) -> None:
        """Make room for `room` own tokens of every row, T."""
        more, self.room = room - self.room, room
        for buffers in (self.own_keys, self.own_values):
            _change(buffers, lambda states: pad(states, (0, 0, 0, more)))
        self.own_bias = pad(self.own_bias, (0, more), value=-torch.inf)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep prompts [new B], and of each of them the rows [new B, new G] of its own."""
        heads = torch.arange(self.num_key_heads, device=prompts.device)
        kept = prompts[:, None] * self.num_key_heads + heads  # [new B, K]
        own = (kept[:, :, None] * self.num_rows + rows[:, None]).flatten()
        for buffers in (self.own_keys, self.own_values):
            _change(buffers, lambda states: states.index_select(0, own))
        if len(prompts) < self.num_prompts:
            self.num_tokens = self.num_tokens[prompts]
            longest = int(self.num_tokens.max())
            for buffers in (self.prompt_keys, self.prompt_values):
                _change(buffers, lambda states: states[:, :longest].index_select(0, kept.flatten()))
        self.num_prompts, self.num_rows = rows.shape
        self.prompt_bias = self._prompt_bias()

    def attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [R, 1, heads, D] of queries [R, heads, 1, D]; takes a layer's keys and values [R, K, 1, D] in.

        Before the first layer of a step comes `begin_step`.
        """
        if value.dtype in (torch.float32, torch.float64):
            return self._attend(module, query, key, value)
        with torch.autocast(value.device.type, enabled=False):  # it would round the scores
            return self._attend(module, query, key, value)

    def begin_step(self) -> None:
        """Let the tokens that the step brings be seen."""
        self.own_bias.index_fill_(0, self.step, 0.0)

    def _attend(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        layer, dtype, width = module.layer_idx, value.dtype, self.width
        prompt_keys, prompt_values = self.prompt_keys[layer], self.prompt_values[layer]
        own_keys, own_values = self.own_keys[layer], self.own_values[layer]
        by_prompt = (self.num_prompts, self.num_rows, self.num_key_heads, -1, width)
        by_head = (self.num_prompts, self.num_key_heads, self.num_rows, -1, width)
        own_keys.view(by_head).index_copy_(3, self.step, key.to(dtype).view(by_prompt).transpose(1, 2))
        own_values.view(by_head).index_copy_(3, self.step, value.view(by_prompt).transpose(1, 2))

        query = query.to(dtype).view(by_prompt).transpose(1, 2).contiguous()
        grouped, scale = query.shape[:-1], module.scaling  # [B, K, G, Q]
        by_prompt_key, by_own_key = query.view(len(prompt_keys), -1, width), query.view(len(own_keys), -1, width)
        to_prompt = _product(by_prompt_key, prompt_keys.transpose(1, 2), self.prompt_bias, scale).view(*grouped, -1)
        to_own = _product(by_own_key, own_keys.transpose(1, 2), self.own_bias, scale).view(*grouped, -1)
        shares = torch.cat([to_prompt, to_own], dim=-1).softmax(dim=-1).to(dtype)
        to_prompt, to_own = shares.split([prompt_values.shape[1], self.room], dim=-1)
        output = _product(to_own.flatten(0, 2), own_values).view_as(by_prompt_key)
        output = _product(to_prompt.flatten(2, 3).flatten(0, 1), prompt_values, output)
        return output.to(dtype).view(by_head).transpose(1, 2).reshape(len(key), 1, -1, width)

    def _prompt_bias(self) -> Tensor:
        """[B x K, 1, P] added to scores: minus infinity behind the end of a prompt."""
        slots = torch.arange(self.prompt_values[0].shape[1], device=self.num_tokens.device)
        is_behind = (slots >= self.num_tokens[:, None]).repeat_interleave(self.num_key_heads, dim=0)[:, None]
        return torch.zeros_like(is_behind, dtype=self.score_dtype).masked_fill(is_behind, -torch.inf)


def _change(buffers: list[Tensor], change: Callable[[Tensor], Tensor]) -> None:
    """Layer by layer, so that only one of them is there twice."""
    for layer, states in enumerate(buffers):
        buffers[layer] = change(states)


def _product(left: Tensor, right: Tensor, plus: Tensor | None = None, scale: float = 1.0) -> Tensor:
    """plus + scale x left @ right over a batch, in float32 or better: half as many bits are too few for scores."""
    if plus is None:
        plus = left.new_zeros((), dtype=torch.promote_types(left.dtype, torch.float32))
    if left.dtype == plus.dtype:
        return torch.baddbmm(plus, left, right, alpha=scale)
    if left.is_cuda:
        return torch.bmm(left, right, out_dtype=plus.dtype).mul_(scale).add_(plus)
    return torch.baddbmm(plus, left.to(plus.dtype), right.to(plus.dtype), alpha=scale)
