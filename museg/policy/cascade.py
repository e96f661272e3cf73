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
        self.prompt_bias = self._prompt_bias()
        self.own_bias = torch.full((room,), -torch.inf, device=self.step.device)  # 0 at tokens that are there

    def grow(self, room: int) -> None:
        """Make room for `room` own tokens of every row, T."""
        more, self.room = room - self.room, room
        self.own_keys = [pad(keys, (0, 0, 0, more)) for keys in self.own_keys]
        self.own_values = [pad(values, (0, 0, 0, more)) for values in self.own_values]
        self.own_bias = pad(self.own_bias, (0, more), value=-torch.inf)

    def keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Keep prompts [new B], and of each of them the rows [new B, new G] of its own."""
        heads = torch.arange(self.num_key_heads, device=prompts.device)
        kept = prompts[:, None] * self.num_key_heads + heads  # [new B, K]
        own = (kept[:, :, None] * self.num_rows + rows[:, None]).flatten()
        self.own_keys = [keys.index_select(0, own) for keys in self.own_keys]
        self.own_values = [values.index_select(0, own) for values in self.own_values]
        if len(prompts) < self.num_prompts:
            self.num_tokens = self.num_tokens[prompts]
            longest = int(self.num_tokens.max())
            self.prompt_keys = [keys[:, :longest].index_select(0, kept.flatten()) for keys in self.prompt_keys]
            self.prompt_values = [values[:, :longest].index_select(0, kept.flatten()) for values in self.prompt_values]
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

        query = (query * module.scaling).to(dtype).view(by_prompt).transpose(1, 2).contiguous()
        grouped = query.shape[:-1]  # [B, K, G, Q]
        to_prompt = _product(query.view(len(prompt_keys), -1, width), prompt_keys.transpose(1, 2)).view(*grouped, -1)
        to_own = _product(query.view(len(own_keys), -1, width), own_keys.transpose(1, 2)).view(*grouped, -1)
        if self.prompt_bias is not None:
            to_prompt += self.prompt_bias
        to_own += self.own_bias
        shares = torch.cat([to_prompt, to_own], dim=-1).softmax(dim=-1).to(dtype)
        to_prompt, to_own = shares.split([prompt_values.shape[1], self.room], dim=-1)
        output = _product(to_prompt.flatten(2, 3).flatten(0, 1), prompt_values).view(by_head)
        output += _product(to_own.flatten(0, 2), own_values).view(by_head)
        return output.to(dtype).transpose(1, 2).reshape(len(key), 1, -1, width)

    def _prompt_bias(self) -> Tensor | None:
        """[B, 1, 1, 1, P]: minus infinity behind the end of a prompt; None where all are equally long."""
        length = self.prompt_values[0].shape[1]
        if bool((self.num_tokens == length).all()):
            return None
        slots = torch.arange(length, device=self.num_tokens.device)
        return _minus_infinity(slots >= self.num_tokens[:, None])[:, None, None, None]


def _minus_infinity(left_out: Tensor) -> Tensor:
    return torch.zeros_like(left_out, dtype=torch.float32).masked_fill(left_out, -torch.inf)


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Batched matrix product, in float32 or better: half as many bits are too few for scores."""
    if left.dtype in (torch.float32, torch.float64):
        return torch.bmm(left, right)
    if left.is_cuda:
        return torch.bmm(left, right, out_dtype=torch.float32)
    return torch.bmm(left.float(), right.float())
