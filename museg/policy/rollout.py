"""Sampling completions: each prompt is read once, its generations share what was read.

Shapes: N = B x G rollouts; B prompts; G generations; R rows still running; P prompt tokens; C completion tokens;
V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from museg.policy.forward import drop_left_padding, embed_prompts, run_decoder
from museg.policy.key_value_cache import repeat_rows, rollout_cache, take_rows
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.sampling import inverse_cdf, nucleus, uniforms_of

# Finished rows leave the batch once this share of it has finished: leaving costs a copy of the cache.
DROP_SHARE = 0.2

Chooser = Callable[[Tensor, int, Tensor], Tensor]  # (logits [R, V], step, rows [R]) -> token ids [R]


@dataclass(frozen=True)
class RolloutSettings:
    """How completions are sampled.

    Attributes:
        num_generations: completions per prompt, the group of GRPO.
        temperature: divides the logits before sampling; reported log-probabilities don't use it.
        top_p: sample from the smallest set of tokens that holds this much probability; 1 means all.
        max_new_tokens: longest completion.
        max_context_tokens: longest prompt and completion together; a prompt's limit is the smaller of the two.

    **Source** of the defaults: THUNLP-MT/MUSEG 889565e, training scripts.
    """

    num_generations: int = 8
    temperature: float = 0.9
    top_p: float = 1.0
    max_new_tokens: int = 4096
    max_context_tokens: int = 4096

    def __post_init__(self) -> None:
        rules = {
            "num_generations": (self.num_generations >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0 (greedy_rollouts takes the likeliest token)"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "max_context_tokens": (self.max_context_tokens >= 2, "at least 2"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"rollout.{name}={getattr(self, name)} must be {rule}")

    def with_num_generations(self, num_generations: int) -> "RolloutSettings":
        """Return the same settings for another group size."""
        return replace(self, num_generations=num_generations)


@dataclass(frozen=True)
class Rollouts:
    """Completions of a batch of prompts; the G rows of a prompt stand together."""

    completion_ids: Tensor  # [N, C] long, padded on the right
    completion_mask: Tensor  # [N, C] bool, up to and including the end token
    texts: list[str]  # N, without special tokens
    group_of: Tensor  # [N] long, the row's prompt
    log_probs: Tensor  # [N, C] float32, of each token at temperature 1 among all tokens; 0 at padding


def sample_rollouts(policy: Policy, batch: PromptBatch, settings: RolloutSettings, seeds: Sequence[int]) -> Rollouts:
    """Sample G completions of every prompt.

    A prompt's completions depend on its own seed and the weights, not on which other prompts stand in the batch: its
    random numbers are drawn beforehand and turned into tokens through the cumulative distribution.

    Args:
        seeds: one per prompt.
    """
    if len(seeds) != len(batch.examples):
        raise ValueError(f"{len(seeds)} seeds for {len(batch.examples)} prompts: give one seed for each prompt")
    draws = [uniforms_of(seed, settings.max_new_tokens, settings.num_generations) for seed in seeds]
    uniforms = torch.cat(draws, dim=1).to(policy.device)  # [max_new, N]

    def choose(logits: Tensor, step: int, rows: Tensor) -> Tensor:
        probs = nucleus((logits / settings.temperature).softmax(dim=-1), settings.top_p)
        return inverse_cdf(probs, uniforms[step, rows])

    return _generate(policy, batch, settings, choose)


def greedy_rollouts(
    policy: Policy, batch: PromptBatch, settings: RolloutSettings, features: Tensor | None = None
) -> Rollouts:
    """Take the likeliest token throughout: one completion per prompt; `features` as for `embed_prompts`."""

    def choose(logits: Tensor, step: int, rows: Tensor) -> Tensor:
        return logits.argmax(dim=-1)

    return _generate(policy, batch, settings.with_num_generations(1), choose, features)


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


def _generate(
    policy: Policy, batch: PromptBatch, settings: RolloutSettings, choose: Chooser, features: Tensor | None = None
) -> Rollouts:
    num_generations = settings.num_generations
    prompt_tokens = batch.attention_mask.sum(dim=1)  # [B]
    limits = (settings.max_context_tokens - prompt_tokens).clamp(max=settings.max_new_tokens)
    limits = limits.repeat_interleave(num_generations)  # [N]
    if limits.min() < 1:
        raise ValueError(
            f"a prompt of {int(prompt_tokens.max())} tokens leaves no room for a completion in "
            f"rollout.max_context_tokens={settings.max_context_tokens}"
        )
    with evaluation_mode(policy.model):
        ids, log_probs = _Decoding(policy, batch, num_generations, limits, features).run(choose)
    mask = completion_mask(ids, policy.ids.stop_ids) & (torch.arange(ids.shape[1], device=ids.device) < limits[:, None])
    rows = [row[kept].tolist() for row, kept in zip(ids.cpu(), mask.cpu(), strict=True)]
    texts = policy.tokenizer.batch_decode(rows, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    group_of = torch.arange(len(prompt_tokens), device=ids.device).repeat_interleave(num_generations)
    return Rollouts(ids, mask, texts, group_of, log_probs)


class _Decoding:
    """The state of one generation: the rows that run, what they have read, what they have written."""

    def __init__(
        self, policy: Policy, batch: PromptBatch, num_generations: int, limits: Tensor, features: Tensor | None
    ) -> None:
        self.policy, self.limits = policy, limits
        device, num_rows = policy.device, len(limits)
        self.stop_ids = torch.tensor(policy.ids.stop_ids, device=device)
        self.banned_ids = torch.tensor(policy.ids.banned_ids, device=device)
        self.rows = torch.arange(num_rows, device=device)  # [R] row of the result that each running row writes
        self.is_running = torch.ones(num_rows, dtype=torch.bool, device=device)  # [R]
        self.position = batch.next_position.repeat_interleave(num_generations)  # [R]
        self.cache = rollout_cache(len(policy.model.model.language_model.layers))
        self.hidden = self._read_prompts(batch, features).repeat_interleave(num_generations, dim=0)  # [R, hidden]
        repeat_rows(self.cache, num_generations)
        self.key_mask = self._prompt_key_mask(batch, num_generations)  # [R, P + max C] or None

    def _read_prompts(self, batch: PromptBatch, features: Tensor | None) -> Tensor:
        """Fill the cache with the prompts and return the hidden state [B, hidden] after each one's last token."""
        padding = batch.num_padding
        embeds = drop_left_padding(embed_prompts(self.policy, batch, features), padding)
        positions = drop_left_padding(batch.position_ids.permute(1, 2, 0), padding).permute(2, 0, 1)
        hidden = run_decoder(self.policy, embeds, positions, cache=self.cache)
        last = hidden.shape[1] - 1 - padding
        return hidden[torch.arange(len(hidden), device=hidden.device), last]

    def _prompt_key_mask(self, batch: PromptBatch, num_generations: int) -> Tensor | None:
        """Return which cached slots hold tokens, for all steps to come; None when all do."""
        padding = batch.num_padding.repeat_interleave(num_generations)
        if not padding.any():
            return None
        num_prompt = batch.input_ids.shape[1]
        slots = torch.arange(num_prompt + int(self.limits.max()), device=padding.device)
        return (slots < num_prompt - padding[:, None]) | (slots >= num_prompt)

    def run(self, choose: Chooser) -> tuple[Tensor, Tensor]:
        """Return completion ids [N, C] and their log-probabilities [N, C]."""
        policy, num_steps = self.policy, int(self.limits.max())
        written_ids: list[Tensor] = []
        written_log_probs: list[Tensor] = []
        for step in range(num_steps):
            logits = policy.model.lm_head(self.hidden).float()  # [R, V]
            log_normaliser = logits.logsumexp(dim=-1)
            allowed = logits.index_fill(1, self.banned_ids, -torch.inf)
            tokens = choose(allowed, step, self.rows)
            log_probs = logits.gather(1, tokens[:, None]).squeeze(1) - log_normaliser
            written_ids.append(self._scattered(tokens, policy.ids.pad_id))
            written_log_probs.append(self._scattered(log_probs, 0.0))
            self.is_running &= ~torch.isin(tokens, self.stop_ids) & (step + 1 < self.limits[self.rows])
            num_running = int(self.is_running.sum())
            if not num_running:
                break
            if num_running <= (1 - DROP_SHARE) * len(self.rows):
                tokens = self._drop_finished(tokens)
            self._read_token(tokens)
        return torch.stack(written_ids, dim=1), torch.stack(written_log_probs, dim=1)

    def _scattered(self, values: Tensor, fill: float) -> Tensor:
        """Return [N] with the running rows' values and `fill` elsewhere."""
        full = values.new_full((len(self.limits),), fill)
        full[self.rows] = values.masked_fill(~self.is_running, fill)
        return full

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
        self.hidden = run_decoder(self.policy, embeds, positions, cache=self.cache, key_mask=key_mask)[:, 0]
        self.position = self.position + 1
