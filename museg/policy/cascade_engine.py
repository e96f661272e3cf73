"""Decoding of all rows in step, over prompts that are held once. The default engine.

Shapes: N = B x G rollouts of the whole batch; b prompts that still run, g rows of each, r = b x g rows that are
decoded; C completion tokens; D width of a head.

Rows stand in a rectangle of prompts and rows of a prompt. When enough of them have finished, the rectangle shrinks to
the prompts that still run and the most rows that any of them still needs; the places left over are filled with rows of
the same prompt that have finished, and what these go on writing is cut off at the end.

A step is a function of tensors that stay where they are (tokens, step, who still runs, own keys), of shapes that change
only when rows leave or own keys get more room. So on a GPU it is recorded once and replayed, and who has finished is
looked at only every few steps: no step waits for the processor. On a processor the same step is just done. States that
are asked for are written where a replay finds them too. None of this has been run on a GPU yet.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from museg.policy.attention_overrides import attended_by, check_kernel
from museg.policy.cascade import CascadeCache
from museg.policy.cuda_graph import recorded
from museg.policy.engine import Decoded, Request, RolloutEngine
from museg.policy.loading import Policy
from museg.policy.prefill import ReadPrompts
from museg.policy.processing import PromptBatch


@dataclass(frozen=True)
class Pace:
    """How often things are done that cost more on one device than on another.

    Attributes:
        looks_every: steps between two looks at which rows have finished, for which a GPU must be waited for.
        drop_share: the rectangle shrinks when it loses this share: that copies own keys, and records anew on a GPU.
        room_tokens: own keys get room for so many more tokens at a time.
    """

    looks_every: int
    drop_share: float
    room_tokens: int


FEW_ROWS = 16
"""For so many rows a processor multiplies the head the other way round, in two thirds of the time at 8 rows."""
ON_PROCESSOR = Pace(looks_every=1, drop_share=0.2, room_tokens=32)
ON_GPU = Pace(looks_every=8, drop_share=0.4, room_tokens=256)


@dataclass(frozen=True)
class CascadeEngine(RolloutEngine):
    """Each prompt is read once and held once; `pace` None: what suits the device."""

    pace: Pace | None = None

    def decode(self, policy: Policy, batch: PromptBatch, request: Request) -> Decoded:
        """See `RolloutEngine.decode`."""
        check_kernel(policy.model.config.text_config)
        pace = self.pace or (ON_GPU if policy.device.type == "cuda" else ON_PROCESSOR)
        return _Decoding(policy, batch, request, pace).run()


class _Decoding:
    """The state of one generation."""

    def __init__(self, policy: Policy, batch: PromptBatch, request: Request, pace: Pace) -> None:
        self.policy, self.request, self.pace = policy, request, pace
        self.decoder, device = policy.model.model.language_model, policy.device
        self.num_steps, self.num_rows = int(request.limits.max()), request.num_generations
        self.stop_ids = torch.tensor(policy.ids.stop_ids, device=device)
        prompts = ReadPrompts(policy, batch, request.record)
        self.cache = CascadeCache(prompts, self.num_rows, min(self.num_steps, pace.room_tokens))
        steps = torch.arange(self.num_steps - 1, device=device)
        positions = (batch.next_position[:, None] + steps).expand(3, -1, -1)
        self.rotary = self.decoder.rotary_emb(prompts.hidden, positions)  # cosines and sines [b, C - 1, D]
        self.rows = torch.arange(len(request.limits), device=device)  # [r] row of the result that each one writes
        self.limits = request.limits  # [r]
        self.is_running = torch.ones_like(self.rows, dtype=torch.bool)  # [r]
        self.tokens = torch.zeros_like(self.rows)  # [r] chosen last
        self.ids = self.rows.new_zeros(self.num_steps, len(self.rows))  # [C, N]
        self.log_probs = torch.zeros_like(self.ids, dtype=torch.promote_types(prompts.hidden.dtype, torch.float32))
        self.token_reader, self.frame_states = prompts.token_reader, prompts.frame_states
        self.token_states: Tensor | None = None  # [1 + room of own keys, N, hidden]
        if prompts.token_states is not None:
            first = prompts.token_states.repeat_interleave(self.num_rows, dim=0)
            self.token_states = pad(first[None], (0, 0, 0, 0, 0, self.cache.room))
        self.replay: Callable[[], None] | None = None
        self.is_recording = request.cuda_graphs
        self._choose(prompts.hidden.repeat_interleave(self.num_rows, dim=0))

    def run(self) -> Decoded:
        """Write token by token."""
        for step in range(1, self.num_steps):
            if step % self.pace.looks_every == 0 and not self._any_running():
                break
            if step > self.cache.room:
                self._grow()
            if self.replay is None:
                state = (self.tokens, self.is_running, self.cache.step)
                self.replay = recorded(self._step, state) if self.is_recording else self._step
                self.is_recording = self.replay != self._step  # what failed once is not tried again
            self.replay()
        self.replay = None  # it may hold this object, which would keep the cache until Python looks for circles
        token_states = None if self.token_states is None else self.token_states.transpose(0, 1)
        return Decoded(self.ids.t(), self.log_probs.t(), token_states, self.frame_states)

    def _grow(self) -> None:
        """Make room for more tokens."""
        before = self.cache.room
        self.cache.grow(min(self.num_steps, before + self.pace.room_tokens))
        if self.token_states is not None:
            self.token_states = pad(self.token_states, (0, 0, 0, 0, 0, self.cache.room - before))
        self.replay = None

    def _step(self) -> None:
        """Read the token that each row has written last, and write the next."""
        rotary = tuple(
            part.index_select(1, self.cache.step).repeat_interleave(self.num_rows, dim=0) for part in self.rotary
        )  # [r, 1, D]
        hidden = self.decoder.embed_tokens(self.tokens[:, None])  # [r, 1, hidden]
        self.cache.begin_step()
        for layer in self.decoder.layers:
            self._keep_states(layer, hidden)
            hidden = layer(hidden, position_embeddings=rotary, **attended_by(self.cache.attend))
        self._keep_states(self.decoder.norm, hidden)
        self.cache.step += 1
        self._choose(self.decoder.norm(hidden)[:, 0])

    def _keep_states(self, reader: nn.Module, hidden: Tensor) -> None:
        """Keep the states [r, 1, hidden] that `reader` reads, if they are asked for: they predict the next token."""
        if reader is self.token_reader:
            self.token_states[self.cache.step + 1, self.rows] = hidden[:, 0]

    def _choose(self, hidden: Tensor) -> None:
        """Choose a token after the hidden state [r, hidden] of each row."""
        step = self.cache.step
        tokens, log_probs = self.request.chooser(_logits(self.policy.model.lm_head, hidden), step, self.rows)
        self.ids[step, self.rows], self.log_probs[step, self.rows] = tokens, log_probs
        self.tokens.copy_(tokens)
        is_last = (tokens[:, None] == self.stop_ids).any(dim=1) | (step + 1 >= self.limits)
        self.is_running &= ~is_last

    def _any_running(self) -> bool:
        """Whether any row still runs; what has finished leaves where that is worth it."""
        running = self.is_running.view(-1, self.num_rows)  # [b, g]
        counts = running.sum(dim=1).tolist()
        kept, most = [prompt for prompt, count in enumerate(counts) if count], max(counts)
        if kept and len(kept) * most <= (1 - self.pace.drop_share) * running.numel():
            prompts = torch.tensor(kept, device=running.device)
            rows = running[prompts].int().argsort(dim=1, descending=True, stable=True)[:, :most]
            self._keep(prompts, rows)
        return bool(kept)

    def _keep(self, prompts: Tensor, rows: Tensor) -> None:
        """Go on with prompts [new b], and of each of them the rows [new b, new g] of its own."""
        self.cache.keep(prompts, rows)
        self.rotary = tuple(part[prompts] for part in self.rotary)
        kept = (prompts[:, None] * self.num_rows + rows).flatten()
        self.rows, self.limits, self.tokens = self.rows[kept], self.limits[kept], self.tokens[kept]
        self.is_running, self.num_rows = self.is_running[kept], rows.shape[1]
        self.replay = None


def _logits(head: nn.Module, hidden: Tensor) -> Tensor:
    """Logits [r, vocabulary] after hidden states [r, hidden]."""
    if hidden.is_cuda or len(hidden) > FEW_ROWS or type(head) is not nn.Linear:
        return head(hidden)
    return (head.weight @ hidden.t()).t().contiguous()
