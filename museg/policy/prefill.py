"""Reading prompts once for all of their completions: the keys and values of each, and the state to go on from.

Shapes: B prompts; P tokens of the longest; K key heads; H query heads; D width of a head.

Of the last layer only the tokens' keys and values are asked for later, and the state after each prompt's last token:
its attention and its feed-forward part run for these tokens alone, and for those of videos if what it makes of them is
recorded.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from museg.policy.attention_overrides import attended_by
from museg.policy.forward import left_aligned
from museg.policy.layer_states import reader_of
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers, video_slots

Slots = Tensor | tuple[Tensor, Tensor]
"""An index of [B, P]."""


class ReadPrompts:
    """Prompts as the decoder's layers have read them, without padding on the left.

    Attributes:
        keys, values: layer by layer [B, K, P, D]; what stands behind a shorter prompt means nothing.
        num_tokens: [B] long.
        hidden: [B, hidden], behind the final norm, after each prompt's last token.
        token_states: [B, hidden] of each prompt's last token, in the layer that `record` names; None without `record`.
        frame_states: [video tokens of all prompts, hidden], in the other layer that it names; None without it.
        token_reader: the module that reads what `token_states` is a part of; None without `record`.

    Raises ValueError for a layer that the decoder does not have.
    """

    def __init__(self, policy: Policy, batch: PromptBatch, record: RecordedLayers | None = None) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.num_tokens = batch.attention_mask.sum(dim=1)
        self.token_states: Tensor | None = None
        self.frame_states: Tensor | None = None
        self.token_reader: nn.Module | None = None
        self._frame_reader: nn.Module | None = None
        if record is not None:
            decoder = policy.model.model.language_model
            self.token_reader = reader_of(decoder, record.token_layer)
            self._frame_reader = reader_of(decoder, record.frame_layer)
            self._videos = video_slots(policy, batch)
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
            self._keep_states(layer, hidden.__getitem__)
            hidden = layer(hidden, position_embeddings=rotary, past_key_values=self)
        self._keep_states(last, hidden.__getitem__)
        attend = self._attend_at_ends if self._frame_reader is not decoder.norm else self._attend_everywhere
        attended, _ = last.self_attn(
            last.input_layernorm(hidden), position_embeddings=rotary, past_key_values=self, **attended_by(attend)
        )

        def behind_last(slots: Slots) -> Tensor:
            states = hidden[slots] + attended[slots]  # [slots, hidden]
            return states + last.mlp(last.post_attention_layernorm(states))

        self._keep_states(decoder.norm, behind_last)
        return decoder.norm(behind_last(self._ends))

    def _keep_states(self, reader: nn.Module, states_at: Callable[[Slots], Tensor]) -> None:
        """Keep what `reader` reads, if it is asked for."""
        if reader is self.token_reader:
            self.token_states = states_at(self._ends)
        if reader is self._frame_reader:
            self.frame_states = states_at(self._videos)

    @property
    def _ends(self) -> tuple[Tensor, Tensor]:
        """Index of each prompt's last token in [B, P]."""
        return torch.arange(len(self.num_tokens), device=self.num_tokens.device), self.num_tokens - 1

    def _attend_at_ends(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [B, P, H, D] of the last tokens; zeros elsewhere."""
        return self._with_ends(value.new_zeros(query.transpose(1, 2).shape), module, query, key, value)

    def _attend_everywhere(self, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention [B, P, H, D] of all tokens; that of the last ones to the last bit as if it were theirs alone."""
        parts = (query.to(value.dtype), key.to(value.dtype), value)
        found = scaled_dot_product_attention(*parts, is_causal=True, scale=module.scaling, enable_gqa=True)
        return self._with_ends(found.transpose(1, 2), module, query, key, value)

    def _with_ends(self, output: Tensor, module: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Put the attention of the last tokens into `output` [B, P, H, D]."""
        prompts, ends = self._ends
        seen = torch.arange(key.shape[2], device=key.device) < self.num_tokens[:, None]  # [B, P]
        parts = (query[prompts, :, ends][:, :, None].to(value.dtype), key.to(value.dtype), value)
        found = scaled_dot_product_attention(
            *parts, attn_mask=seen[:, None, None], scale=module.scaling, enable_gqa=True
        )
        output[prompts, ends] = found[:, :, 0]
        return output
