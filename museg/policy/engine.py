"""What samples completions: what is asked of an engine, and what those that run the policy itself share.

Shapes: N = B x G rollouts; B prompts; G generations; C completion tokens.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.sampling import Chooser, uniforms_of

if TYPE_CHECKING:
    from museg.policy.rollout import RolloutSettings


@dataclass(frozen=True)
class Rollouts:
    """Completions of a batch of prompts; the G rows of a prompt stand together."""

    completion_ids: Tensor  # [N, C] long, padded on the right
    completion_mask: Tensor  # [N, C] bool, up to and including the end token
    texts: list[str]  # N, without special tokens
    group_of: Tensor  # [N] long, the row's prompt
    log_probs: Tensor  # [N, C] float32 or better, of each token at temperature 1 among all tokens; 0 at padding
    token_states: Tensor | None = None  # [N, C, hidden] that predict each token; 0 at padding; None unless asked for
    frame_states: Tensor | None = None  # [video tokens of all prompts, hidden] in their order; None unless asked for


@dataclass(frozen=True)
class Decoded:
    """What decoding returns; what follows a row's end may be anything. States are those of `Rollouts`."""

    ids: Tensor  # [N, steps] long
    log_probs: Tensor  # [N, steps]
    token_states: Tensor | None = None  # [N, steps or more, hidden]
    frame_states: Tensor | None = None  # [video tokens of all prompts, hidden]


class RolloutEngine(ABC):
    """Completes prompts by running the policy's own weights in this process; a subclass decodes.

    Only `sample` and `greedy` are called from elsewhere, so whatever decodes in another place needs no more than these
    two. `museg.policy.rollout` says what they must do and what `record` is.
    """

    @abstractmethod
    def decode(self, policy: Policy, batch: PromptBatch, request: "Request") -> Decoded:
        """Choose tokens until every row has ended, and record the states that are asked for."""

    def sample(
        self,
        policy: Policy,
        batch: PromptBatch,
        settings: "RolloutSettings",
        seeds: Sequence[int],
        record: RecordedLayers | None = None,
    ) -> Rollouts:
        """Sample G completions of every prompt; its random numbers are drawn beforehand, from its own seed alone."""
        draws = [uniforms_of(seed, settings.max_new_tokens, settings.num_generations) for seed in seeds]
        uniforms = torch.cat(draws, dim=1).to(policy.device)  # [max_new, N]
        banned_ids = torch.tensor(policy.ids.banned_ids, dtype=torch.long, device=policy.device)
        chooser = Chooser(banned_ids, uniforms, settings.temperature, settings.top_p)
        return self._rollouts(policy, batch, Request.of(batch, settings, chooser, record))

    def greedy(
        self, policy: Policy, batch: PromptBatch, settings: "RolloutSettings", record: RecordedLayers | None = None
    ) -> Rollouts:
        """Take the likeliest token throughout, one completion per prompt whatever the settings' group size."""
        banned_ids = torch.tensor(policy.ids.banned_ids, dtype=torch.long, device=policy.device)
        request = Request.of(batch, settings.with_num_generations(1), Chooser(banned_ids), record)
        return self._rollouts(policy, batch, request)

    def _rollouts(self, policy: Policy, batch: PromptBatch, request: "Request") -> Rollouts:
        with evaluation_mode(policy.model):
            decoded = self.decode(policy, batch, request)
        return _finished(policy, decoded, request)


@dataclass(frozen=True)
class Request:
    """What is asked of a batch of prompts."""

    num_generations: int
    limits: Tensor  # [N] long, most tokens of each completion
    chooser: Chooser
    cuda_graphs: bool
    record: RecordedLayers | None

    @classmethod
    def of(
        cls, batch: PromptBatch, settings: "RolloutSettings", chooser: Chooser, record: RecordedLayers | None
    ) -> "Request":
        """Work out the limits; a prompt that leaves no room for a token raises ValueError."""
        num_tokens = batch.attention_mask.sum(dim=1)  # [B]
        limits = (settings.max_context_tokens - num_tokens).clamp(max=settings.max_new_tokens)
        if limits.min() < 1:
            raise ValueError(
                f"a prompt of {int(num_tokens.max())} tokens leaves no room for a completion in "
                f"rollout.max_context_tokens={settings.max_context_tokens}"
            )
        limits = limits.repeat_interleave(settings.num_generations)
        return cls(settings.num_generations, limits, chooser, settings.cuda_graphs, record)


def completion_mask(completion_ids: Tensor, stop_ids: Sequence[int]) -> Tensor:
    """Return the bool mask [N, C] of everything up to and including a row's first stop token; all True without one."""
    is_stop = torch.isin(completion_ids, torch.tensor(list(stop_ids), device=completion_ids.device))
    return is_stop.cumsum(dim=1) - is_stop.long() == 0


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Run without gradients and without checkpointing, which would silently ignore the cache."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _finished(policy: Policy, decoded: Decoded, request: Request) -> Rollouts:
    """Cut rows off behind their ends and read them as texts."""
    ids, states = decoded.ids, decoded.token_states
    steps = torch.arange(ids.shape[1], device=ids.device)
    mask = completion_mask(ids, policy.ids.stop_ids) & (steps < request.limits[:, None])
    longest = int(mask.sum(dim=1).max())
    ids, mask = ids[:, :longest], mask[:, :longest]
    rows = [row[:length] for row, length in zip(ids.tolist(), mask.sum(dim=1).tolist(), strict=True)]
    groups = torch.arange(len(ids) // request.num_generations, device=ids.device)
    return Rollouts(
        completion_ids=ids.masked_fill(~mask, policy.ids.pad_id),
        completion_mask=mask,
        texts=policy.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False),
        group_of=groups.repeat_interleave(request.num_generations),
        log_probs=decoded.log_probs[:, :longest].masked_fill(~mask, 0.0),
        token_states=None if states is None else states[:, :longest].masked_fill(~mask[..., None], 0.0),
        frame_states=decoded.frame_states,
    )
