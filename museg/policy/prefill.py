"""Reading prompts once for all of their completions: the keys and values of each, and the state to go on from.

Shapes: B prompts; P tokens of the longest; K key heads; H query heads; D width of a head.

Of the last layer only the tokens' keys and values are asked for later, and the state after each prompt's last token:
its attention and its feed-forward part run for these tokens alone.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from museg.policy.attention_overrides import attended_by
from museg.policy.forward import left_aligned
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch


class ReadPrompts:
    """Prompts as the decoder's layers have read them, without padding on the left.

    Attributes:
        keys, values: layer by layer [B, K, P, D]; what stands behind a shorter prompt means nothing.
        num_tokens: [B] long.
        hidden: [B, hidden], behind the final norm, after each prompt's last token.
    """

    def __init__(self, policy: Policy, batch: PromptBatch) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.num_tokens = batch.attention_mask.sum(dim=1)
        self.hidden = self._read(policy, batch)

    def update(self, key: Tensor, value: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Keep a layer's keys and values: what the library's attention asks of a cache."""
        self.keys.append(key.to(value.dtype).contiguous())
        self.values.append(value.contiguous())
        return key, value

    def _read(self, policy: Policy, batch: PromptBatch) -> Tensor:
        decoder = policy.model.model.language_model
        hidden, positions = left_aligned(policy, batch)  # [B, P, hidden], [3, B, P]
        rotary = decoder.rotary_emb(hidden, positions)
        *layers, last = decoder.layers
        for layer in layers:
            hidden = layer(hidden, position_embeddings=rotary, past_key_values=self)
        attended, _ = last.self_attn(
            last.input_layernorm(hidden),
            position_embeddings=rotary,
            past_key_values=self,
            **attended_by(self._attend_at_ends),
        )
        hidden = hidden[self._ends] + attended[self._ends]  # [B, hidden]
        hidden = hidden + last.mlp(last.post_attention_layernorm(hidden))
        return decoder.norm(hidden)

    @property
    def _ends(self) -> tuple[Tensor, Tensor]:
        """Index of each prompt's last token in [B, P]."""
        return torch.arange(len(self.num_tokens), device=self.num_tokens.device), self.num_tokens - 1

    def _attend_at_ends(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [B, P, H, D] of the last tokens; zeros elsewhere."""
        prompts, ends = self._ends
        query = query.transpose(1, 2)  # [B, P, H, D]
        seen = torch.arange(key.shape[2], device=key.device) < self.num_tokens[:, None]  # [B, P]
        parts = (query[prompts, ends][:, :, None].to(value.dtype), key.to(value.dtype), value)
        found = scaled_dot_product_attention(
            *parts, attn_mask=seen[:, None, None], scale=module.scaling, enable_gqa=True
        )
        output = value.new_zeros(query.shape)
        output[prompts, ends] = found[:, :, 0]
        return output
