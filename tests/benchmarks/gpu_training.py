"""A policy in training on one device: what `tests.benchmarks.gpu` times, through the same functions as training."""

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_

from museg.objectives.grpo import grpo_loss
from museg.policy.forward import embed_prompts, run_decoder
from museg.policy.log_probs import chunked_log_probs, completion_log_probs
from museg.policy.reference import Reference
from museg.policy.rollout import Rollouts, RolloutSettings, sample_rollouts
from museg.policy.shared_prefix import shared_prefix_log_probs
from tests.benchmarks.gpu_floor import Decoder, Tower
from tests.benchmarks.gpu_shapes import Setting, Storage, config_of, made_completions, made_prompts, random_policy

TEMPERATURE = 0.9  # Source: conf/rollout/museg.yaml
BETA, CLIP_RANGE, MAX_GRAD_NORM = 0.04, (0.2, 0.2), 1.0  # Source: conf/objective/grpo.yaml, conf/optimizer/museg.yaml
ADAMW = {"lr": 1.5e-6, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}  # Source: conf/optimizer/museg.yaml

LogProbs = Callable[..., Tensor]


class Trained:
    """A policy in training with its reference, and the prompts of a step.

    `prompt` and `completions` (ids and mask) are those of the next update; `num_written` is how long the last rollouts
    became.
    """

    def __init__(self, model: str, setting: Setting, storage: Storage, device: torch.device) -> None:
        self.setting, self.storage, self.device = setting, storage, device
        config = config_of(model)
        self.policy = random_policy(config, device, storage.dtype)
        self.reference = Reference(self.policy).to(device, storage.reference_dtype)
        self.parameters = list(self.policy.model.parameters())
        self.prompts = made_prompts(self.policy, setting, setting.prompts)
        self.prompt = self.prompts.select([0])
        self.completions = made_completions(self.policy, setting, 1)
        self.decoder, self.tower = Decoder.of(config.text_config), Tower.of(config.vision_config)
        self.num_written = 0
        self.settle()

    def settle(self) -> None:
        """As between two steps: in training mode, with checkpointing, without gradients, memory given back."""
        self.policy.model.train()
        self.policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.policy.model.zero_grad()
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def precision(self) -> AbstractContextManager:
        """Arithmetic in bfloat16 on a GPU, as in training there; in the type of the weights on a processor."""
        is_cast = self.device.type != "cpu" and self.storage.dtype == torch.float32
        return torch.autocast(self.device.type, torch.bfloat16) if is_cast else nullcontext()

    def agreement(self) -> dict[str, float]:
        """How far log-probabilities of the packed row are from those of a plain forward, relative to their spread."""
        with self.precision():
            found, right = self.reference_log_probs(), self.reference_log_probs(completion_log_probs)
        return {"relative_gap": float((found - right).norm() / (right - right.mean()).norm())}

    def seeing(self) -> Callable[[], Tensor]:
        """`see`, in evaluation mode until `settle`."""
        self.policy.model.eval()
        return self.see

    @torch.no_grad()
    def see(self) -> Tensor:
        """Features of one video."""
        visual = self.policy.model.model.visual
        return visual(self.prompt.pixel_values, grid_thw=self.prompt.grid_thw).pooler_output

    @torch.no_grad()
    def embed(self) -> Tensor:
        """A prompt as `read` takes it; from here until `settle` in evaluation mode."""
        self.policy.model.eval()
        return embed_prompts(self.policy, self.prompt)

    @torch.no_grad()
    def read(self, embeds: Tensor) -> Tensor:
        """Hidden states of a prompt."""
        return run_decoder(self.policy, embeds, self.prompt.position_ids)

    def log_probs(self, of: LogProbs = shared_prefix_log_probs) -> Tensor:
        """Of the completions under the policy, with gradient."""
        return of(self.policy, self.prompt, *self.completions, self.setting.generations)

    @torch.no_grad()
    def reference_log_probs(self, of: LogProbs = shared_prefix_log_probs) -> Tensor:
        """Of the same under the reference."""
        return of(self.reference.policy, self.prompt, *self.completions, self.setting.generations)

    def loss(self, log_probs: Tensor, reference_log_probs: Tensor) -> Tensor:
        """The objective for one prompt; its advantages add up to zero."""
        advantages = torch.linspace(-1, 1, self.setting.generations, device=self.device)
        others = (None, reference_log_probs, advantages, self.completions[1])
        return grpo_loss(log_probs, *others, beta=BETA, clip_range=CLIP_RANGE).loss

    def own_loss(self) -> Tensor:
        """The loss of a policy that is its own reference."""
        log_probs = self.log_probs()
        return self.loss(log_probs, log_probs.detach())

    def update(self, of: LogProbs = shared_prefix_log_probs) -> None:
        """Add what one prompt has to the gradient."""
        self.loss(self.log_probs(of), self.reference_log_probs(of)).backward()

    def hidden(self) -> Tensor:
        """Made hidden states of all completion tokens, which want a gradient."""
        shape = (self.completions[0].numel(), self.decoder.hidden)
        return torch.randn(shape, device=self.device, dtype=self.storage.dtype, requires_grad=True)

    def score(self, hidden: Tensor, chunk_tokens: int | None = None) -> None:
        """The head forward and backward."""
        chunked_log_probs(self.policy, hidden, self.completions[0].flatten(), chunk_tokens).sum().backward()

    def rollouts(self, num_prompts: int, num_tokens: int) -> Rollouts:
        """Completions of the first prompts, of that many tokens unless all of them end earlier."""
        prompts = self.prompts if num_prompts == self.setting.prompts else self.prompts.select(range(num_prompts))
        settings = RolloutSettings(
            self.setting.generations,
            temperature=TEMPERATURE,
            max_new_tokens=num_tokens,
            max_context_tokens=self.setting.prompt_tokens + num_tokens,
        )
        found = sample_rollouts(self.policy, prompts, settings, range(num_prompts))
        self.num_written = found.completion_ids.shape[1]
        return found

    @cached_property
    def optimizer(self) -> optim.Optimizer:
        """As training makes it."""
        return optim.AdamW(self.parameters, **ADAMW)

    def make_gradients(self) -> None:
        """Gradients of noise."""
        for parameter in self.parameters:
            parameter.grad = torch.randn_like(parameter)

    def step_optimizer(self) -> None:
        """Clip, step, clear."""
        clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def step(self) -> None:
        """Rollouts of all prompts at once, their update one by one, the optimizer's step."""
        rollouts = self.rollouts(self.setting.prompts, self.setting.completion_tokens)
        before = self.prompt, self.completions
        for index in range(self.setting.prompts):
            rows = slice(index * self.setting.generations, (index + 1) * self.setting.generations)
            self.prompt = self.prompts.select([index])
            self.completions = rollouts.completion_ids[rows], rollouts.completion_mask[rows]
            self.update()
        self.prompt, self.completions = before
        self.step_optimizer()
