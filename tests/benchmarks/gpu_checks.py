"""Whether a device computes what it should, in float32 on a small model, before anything on it is timed.

The model has windows in its vision tower and key heads shared by query heads; two prompts have completions of unequal
lengths. What is compared with is the plain forward of every completion, on the same device.
"""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from museg.policy import shared_prefix
from museg.policy.forward import embed_prompts, run_decoder
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from museg.policy.shared_prefix import shared_prefix_log_probs
from museg.policy.vision_attention import use_batched_windows
from tests.benchmarks.gpu_shapes import Setting, config_of, made_completions, made_prompts, random_policy

SETTING = Setting(grid=(4, 6, 6), text_tokens=14, completion_tokens=40, generations=3, prompts=2)
TOLERANCE = 1e-4
"""Of log-probabilities and logits; of gradients relative to the norm of all of them."""
MODEL_TOLERANCE = 0.03
"""Of the measured model's log-probabilities in bfloat16, relative to their spread. A narrow model of 36 layers on a
processor: 0.006 by rounding, 0.05 if completions see each other, 1.5 without attention."""

Way = Callable[..., Tensor]


def attention_ways(device: torch.device) -> dict[str, Way]:
    """The ways of attending in a packed row that a device has, by name."""
    ways = [shared_prefix.attend_by_mask]
    if device.type == "cpu":
        ways.append(shared_prefix.attend_in_pieces)
    elif importlib.util.find_spec("triton"):
        ways.append(shared_prefix.attend_by_blocks)
    return {way.__name__: way for way in ways}


@contextmanager
def attending(way: Way) -> Iterator[None]:
    """Attend that way whatever the device."""
    with patch.object(shared_prefix, "attention_for", lambda device: way):
        yield


class Checks:
    """Comparisons by name; each returns how far apart what should be equal is."""

    def __init__(self, device: torch.device) -> None:
        self.policy = random_policy(config_of("tiny"), device, torch.float32)
        self.prompts = made_prompts(self.policy, SETTING, SETTING.prompts)
        ids, mask = made_completions(self.policy, SETTING, SETTING.prompts)
        lengths = torch.arange(len(ids), device=device) * 6 + 10  # 10 to 40 tokens
        self.inputs = (ids, mask & (torch.arange(ids.shape[1], device=device) < lengths[:, None]), SETTING.generations)
        self.by_name: dict[str, Callable[[], dict[str, float]]] = {
            f"log-probabilities, {name}": lambda way=way: self.shared_row(way)
            for name, way in attention_ways(device).items()
        }
        self.by_name["rollouts, greedy"] = self.greedy_tokens
        self.by_name["rollouts, sampled"] = self.sampled_log_probs
        self.by_name["vision, windows"] = self.vision_windows

    def shared_row(self, way: Way) -> dict[str, float]:
        """The packed row against the plain forward: values and gradients."""
        right, right_gradients = self.with_gradients(completion_log_probs)
        with attending(way):
            found, gradients = self.with_gradients(shared_prefix_log_probs)
        return {
            "log_prob_gap": float((found - right).abs().max()),
            "gradient_gap": float((gradients - right_gradients).norm() / right_gradients.norm()),
        }

    def with_gradients(self, of: Callable[..., Tensor]) -> tuple[Tensor, Tensor]:
        """Log-probabilities [N, C], and in one row the gradients of all weights for unequal weights of the tokens."""
        log_probs = of(self.policy, self.prompts, *self.inputs)
        weight = torch.linspace(-1, 1, log_probs.numel(), device=log_probs.device).view(log_probs.shape)
        gradients = torch.autograd.grad((log_probs * weight).sum(), list(self.policy.model.parameters()))
        return log_probs.detach(), torch.cat([gradient.flatten() for gradient in gradients])

    @torch.no_grad()
    def greedy_tokens(self) -> dict[str, float]:
        """How far below the largest logit of a plain forward any token of a greedy rollout is."""
        written = greedy_rollouts(self.policy, self.prompts, self.settings())
        embeds = embed_prompts(self.policy, self.prompts)
        written_embeds = self.policy.model.model.language_model.embed_tokens(written.completion_ids[:, :-1])
        steps = torch.arange(written_embeds.shape[1], device=embeds.device)
        positions = (self.prompts.next_position[:, None] + steps).expand(3, -1, -1)
        hidden = run_decoder(
            self.policy,
            torch.cat([embeds, written_embeds], dim=1),
            torch.cat([self.prompts.position_ids, positions], dim=2),
        )
        logits = self.policy.model.lm_head(hidden[:, embeds.shape[1] - 1 :])  # [B, C, V]
        logits[..., list(self.policy.ids.banned_ids)] = -torch.inf
        chosen = logits.gather(2, written.completion_ids[..., None]).squeeze(2)
        return {"logit_gap": float((logits.amax(dim=2) - chosen)[written.completion_mask].max())}

    @torch.no_grad()
    def sampled_log_probs(self) -> dict[str, float]:
        """Log-probabilities that a rollout reports against those of a plain forward."""
        written = sample_rollouts(self.policy, self.prompts, self.settings(), range(SETTING.prompts))
        tokens = (written.completion_ids, written.completion_mask, SETTING.generations)
        right = completion_log_probs(self.policy, self.prompts, *tokens)
        return {"log_prob_gap": float(((written.log_probs - right) * written.completion_mask).abs().max())}

    @torch.no_grad()
    def vision_windows(self) -> dict[str, float]:
        """All windows of one length in one call, against one call for each."""
        visual = self.policy.model.model.visual
        inputs = (self.prompts.pixel_values, self.prompts.grid_thw)
        found = visual(inputs[0], grid_thw=inputs[1]).pooler_output
        visual.config._attn_implementation = "sdpa"
        right = visual(inputs[0], grid_thw=inputs[1]).pooler_output
        use_batched_windows(self.policy.model)
        return {"feature_gap": float((found - right).abs().max() / right.abs().max())}

    @staticmethod
    def settings() -> RolloutSettings:
        """Rollouts as long as the completions."""
        return RolloutSettings(SETTING.generations, max_new_tokens=SETTING.completion_tokens)
