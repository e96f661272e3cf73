"""Our GRPO step on one given prompt, for `tests.benchmarks.step`: the training module as `train.py` makes it."""

import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from museg.config.job import build_job
from museg.data.clips import StepBatch
from museg.data.examples import GroundingExample
from museg.dialogue.responses import ParsedResponse, read_strict
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.reference import Reference
from museg.policy.rollout import Rollouts
from museg.rewards.base import Reward
from museg.rewards.mix import RewardMix
from museg.training.blank_prompt import BLANK_CLIP
from museg.training.job import TrainingJob
from museg.training.museg_module import MusegModule
from museg.training.trainers import lightning_trainer
from museg.video.patches import PATCH_VALUES
from tests.benchmarks.grpo_setup import Setup, move, text_of, text_reward
from tests.benchmarks.noise_inputs import made_inputs
from tests.policy.sized_policy import sized_policy
from tests.walks.tiny_runs import checked

STEP = StepBatch(1, [BLANK_CLIP], 1)
"""The step that is made again and again; its clip stands for the given prompt."""


class TextReward(Reward):
    """`text_reward` of the text."""

    def __call__(self, response: ParsedResponse, targets: object) -> float:
        return text_reward(response.text)


class OnePrompt(MusegModule):
    """The training module on a prompt that is ready: reading a video is measured elsewhere."""

    prompts: PromptBatch

    def prompts_of(self, batch: StepBatch, wording: str) -> PromptBatch:
        return self.prompts


class MusegStep:
    """The module with its reference, one prompt with or without a video, and the reward of `grpo_setup`."""

    def __init__(self, setup: Setup, *, has_video: bool) -> None:
        policy = made_policy(setup)
        reference = Reference(policy)
        move(policy.model.model.language_model)
        self.module = OnePrompt(policy, made_job(setup), reference)
        self.module.prompts = made_inputs(policy, setup.shape)[0] if has_video else text_prompt(policy, setup)
        self.compared: nn.Module = policy.model if has_video else policy.model.model.language_model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimizer below that of Lightning."""
        return self.module.trainer.optimizers[0]

    def start(self) -> None:
        """The first step, which sets everything up."""
        with tempfile.TemporaryDirectory() as folder:
            trainer = lightning_trainer(self.module.job, Path(folder), [])
            trainer.fit(self.module, DataLoader([STEP], batch_size=None, collate_fn=lambda batch: batch))

    def run(self) -> float:
        """A whole step; returns the loss."""
        self.module.train()
        return self.module.training_step(STEP, 0)["metrics"]["loss/total"]

    def follow(self, completion_ids: Tensor) -> float:
        """The same on given completions [G, C] instead of sampled ones."""
        module, mask = self.module, torch.ones_like(completion_ids, dtype=torch.bool)
        texts = module.policy.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        group_of = torch.zeros(len(completion_ids), dtype=torch.long)
        rollouts = Rollouts(completion_ids, mask, texts, group_of, torch.zeros(mask.shape))
        module.train()
        scores = module.score([read_strict(text) for text in texts], module.prompts, rollouts, ())
        return module.update(1, module.prompts, rollouts, module.advantages(scores))["loss/total"]


def made_policy(setup: Setup) -> Policy:
    """The policy in training mode, which may sample all tokens but those that no side may."""
    policy = sized_policy(**setup.sizes)
    policy.ids = replace(policy.ids, banned_ids=tuple(setup.never_sampled(policy.ids)))
    if setup.checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    return policy


def made_job(setup: Setup) -> TrainingJob:
    """What `train.py` would be told."""
    shape = setup.shape
    told = {
        "prompts_per_step": 1,
        "trainer.num_threads": torch.get_num_threads(),
        "rollout.num_generations": shape.generations,
        "rollout.max_new_tokens": shape.completion,
        "rollout.max_context_tokens": shape.prompt + shape.completion,
        "rollout.temperature": 1.0,
        "objective.shared_prefix": "true",
        "objective.importance": "off",
        "objective.beta": setup.beta,
        "objective.clip_low": setup.clip,
        "objective.clip_high": setup.clip,
        "optimizer.betas": f"[{setup.betas[0]},{setup.betas[1]}]",
        "optimizer.max_grad_norm": setup.max_grad_norm,
        "optimizer.weight_decay": 0.0,
    }
    job = build_job(checked(*(f"{name}={value}" for name, value in told.items())))
    optimizer = replace(job.optimizer, lr=setup.lr, eps=setup.eps)
    return replace(job, optimizer=optimizer, reward=RewardMix({"text": TextReward()}))


def text_prompt(policy: Policy, setup: Setup) -> PromptBatch:
    """A prompt of P tokens of text: a video of no patches, and so no features of one."""
    ids = torch.tensor([policy.tokenizer.encode(text_of(setup.shape.prompt), add_special_tokens=False)])
    length = ids.shape[1]
    return PromptBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=torch.empty(0, PATCH_VALUES),
        grid_thw=torch.zeros(1, 3, dtype=torch.long),
        second_per_grid_ts=torch.ones(1),
        filled_steps=(0.0,),
        position_ids=torch.arange(length).expand(3, 1, -1),
        next_position=torch.tensor([length]),
        examples=(GroundingExample("text", "", "", (), None, "tvg", "text"),),
        features=torch.empty(0, policy.model.config.text_config.hidden_size),
    )
