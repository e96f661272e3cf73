"""Completions that were written down beforehand, in place of sampled ones: what a run then does is free of chance."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch

from museg.dialogue.demonstrations import demonstration
from museg.phases.batches import derive_seed
from museg.policy.engine import Rollouts
from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch, encode_completions
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.rollout import ENGINES, RolloutSettings

LOG_PROB = -1.0
"""Of every recorded token, as whatever wrote them would have had it."""


def record(file: Path, *, run_seed: int, num_steps: int, num_prompts: int, num_generations: int) -> None:
    """Write a group for every place of every step, under the seed that it would be sampled with."""
    seeds = [derive_seed(run_seed, "rollout", step, place) for step in range(num_steps) for place in range(num_prompts)]
    file.write_text(json.dumps({str(seed): group(seed, num_generations) for seed in seeds}))


def group(seed: int, num_generations: int) -> list[str]:
    """Answers that differ in where and how much, some of which cite their times, so that their rewards differ."""
    chance = random.Random(seed)
    starts_s = [chance.randrange(20) for _ in range(num_generations)]
    return [
        demonstration("'red square'", [(float(start_s), start_s + 3.0)], cites_times=chance.random() < 0.5)
        for start_s in starts_s
    ]


class RecordedEngine:
    """Replays what `record` wrote; greedy answers are the policy's own."""

    def __init__(self, file: Path) -> None:
        self.texts: dict[str, list[str]] = json.loads(file.read_text())

    def sample(
        self,
        policy: Policy,
        batch: PromptBatch,
        settings: RolloutSettings,
        seeds: Sequence[int],
        record: RecordedLayers | None = None,
    ) -> Rollouts:
        """The completions recorded under these seeds; no states are."""
        texts = [text for seed in seeds for text in self.texts[str(seed)]]
        ids, mask = encode_completions(policy, texts)
        group_of = torch.arange(len(seeds)).repeat_interleave(settings.num_generations)
        return Rollouts(ids, mask, texts, group_of, torch.where(mask, LOG_PROB, 0.0))

    def greedy(
        self, policy: Policy, batch: PromptBatch, settings: RolloutSettings, record: RecordedLayers | None = None
    ) -> Rollouts:
        """As sampled live."""
        return ENGINES["cascade"].greedy(policy, batch, settings, record)
