"""Decoding with the library's own attention over keys and values that are repeated for every completion.

Plain and slow: what `museg.policy.cascade` is compared with. Shapes: N = B x G rollouts; B prompts; G generations; R
rows still running; P prompt tokens; C completion tokens.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from museg.policy.engine import Decoded, Request, RolloutEngine
from museg.policy.forward import left_aligned, run_decoder
from museg.policy.key_value_cache import repeat_rows, rollout_cache, take_rows
from museg.policy.layer_states import captured_states
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import video_slots

# Finished rows leave the batch once this share of it has finished: leaving costs a copy of the cache.
DROP_SHARE = 0.2


class PlainEngine(RolloutEngine):
    """Each prompt is read once, then copied for its generations."""

    def decode(self, policy: Policy, batch: PromptBatch, request: Request) -> Decoded:
        """See `RolloutEngine.decode`."""
        if request.record is None:
            return _Decoding(policy, batch, request, {}).run()
        with captured_states(policy, {request.record.token_layer, request.record.frame_layer}) as states:
            return _Decoding(policy, batch, request, states).run()


class _Decoding:
    """The state of one generation: the rows that run, what they have read, what they have written."""

    def __init__(self, policy: Policy, batch: PromptBatch, request: Request, states: Mapping[int, Tensor]) -> None:
        self.policy, self.limits, self.choose = policy, request.limits, request.chooser
        self.record, self.states = request.record, states  # `states`: by layer, of what the decoder has read last
        device, num_rows, num_generations = policy.device, len(request.limits), request.num_generations
        self.stop_ids = torch.tensor(policy.ids.stop_ids, device=device)
        self.rows = torch.arange(num_rows, device=device)  # [R] row of the result that each running row writes
        self.is_running = torch.ones(num_rows, dtype=torch.bool, device=device)  # [R]
        self.position = batch.next_position.repeat_interleave(num_generations)  # [R]
        self.cache = rollout_cache(len(policy.model.model.language_model.layers))
        self.frame_states: Tensor | None = None
        # what each row's next token comes from: [R, hidden] behind the norm, and one more if states are recorded
        self.before = [states.repeat_interleave(num_generations, dim=0) for states in self._read_prompts(batch)]
        repeat_rows(self.cache, num_generations)
        self.key_mask = self._prompt_key_mask(batch, num_generations)  # [R, P + max C] or None

    def _read_prompts(self, batch: PromptBatch) -> list[Tensor]:
        """Fill the cache with the prompts and return the states [B, hidden] after each one's last token."""
        padding = batch.num_padding
        hidden = run_decoder(self.policy, *left_aligned(self.policy, batch), cache=self.cache)
        ends = (torch.arange(len(hidden), device=hidden.device), hidden.shape[1] - 1 - padding)
        if self.record is not None:
            self.frame_states = self.states[self.record.frame_layer][video_slots(self.policy, batch)]
        return [states[ends] for states in self._that_predict(hidden)]

    def _that_predict(self, hidden: Tensor) -> list[Tensor]:
        """What the decoder has returned, and the states that are recorded of the same tokens."""
        return [hidden] if self.record is None else [hidden, self.states[self.record.token_layer]]

    def _prompt_key_mask(self, batch: PromptBatch, num_generations: int) -> Tensor | None:
        """Return which cached slots hold tokens, for all steps to come; None when all do."""
        padding = batch.num_padding.repeat_interleave(num_generations)
        if not padding.any():
            return None
        num_prompt = batch.input_ids.shape[1]
        slots = torch.arange(num_prompt + int(self.limits.max()), device=padding.device)
        return (slots < num_prompt - padding[:, None]) | (slots >= num_prompt)

    def run(self) -> Decoded:
        """Write token by token."""
        written: list[list[Tensor]] = []
        for step in range(int(self.limits.max())):
            hidden, *recorded = self.before
            tokens, log_probs = self.choose(self.policy.model.lm_head(hidden), step, self.rows)
            written.append([self._scattered(values) for values in (tokens, log_probs, *recorded)])
            self.is_running &= ~torch.isin(tokens, self.stop_ids) & (step + 1 < self.limits[self.rows])
            num_running = int(self.is_running.sum())
            if not num_running:
                break
            if num_running <= (1 - DROP_SHARE) * len(self.rows):
                tokens = self._drop_finished(tokens)
            self._read_token(tokens)
        columns = [torch.stack(column, dim=1) for column in zip(*written, strict=True)]
        return Decoded(*columns, frame_states=self.frame_states)

    def _scattered(self, values: Tensor) -> Tensor:
        """Return [N, ...] with the running rows' values."""
        return values.new_zeros(len(self.limits), *values.shape[1:]).index_copy(0, self.rows, values)

    def _drop_finished(self, tokens: Tensor) -> Tensor:
        kept = self.is_running.nonzero().squeeze(1)
        take_rows(self.cache, kept)
        self.rows, self.position, self.is_running = self.rows[kept], self.position[kept], self.is_running[kept]
        if self.key_mask is not None:
            self.key_mask = self.key_mask[kept]
        return tokens[kept]

    def _read_token(self, tokens: Tensor) -> None:
        """Feed one token per running row and move to the next position."""
        embeds = self.policy.model.model.language_model.embed_tokens(tokens[:, None])  # [R, 1, hidden]
        positions = self.position.view(1, -1, 1).expand(3, -1, -1)
        key_mask = None
        if self.key_mask is not None:
            key_mask = self.key_mask[:, : self.cache.get_seq_length() + 1]
        hidden = run_decoder(self.policy, embeds, positions, cache=self.cache, key_mask=key_mask)
        self.before = [states[:, 0] for states in self._that_predict(hidden)]
        self.position = self.position + 1
