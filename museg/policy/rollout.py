"""Completions of prompts: how they are sampled, and by which engine.

Evaluation, held-out answers and training all ask here, so that they are answered by the same engine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from museg.policy.cascade_engine import CascadeEngine
from museg.policy.engine import RolloutEngine, Rollouts
from museg.policy.loading import Policy
from museg.policy.plain import PlainEngine
from museg.policy.processing import PromptBatch
from museg.policy.recorded_layers import RecordedLayers

ENGINES: Mapping[str, RolloutEngine] = {"cascade": CascadeEngine(), "plain": PlainEngine()}


@dataclass(frozen=True)
class RolloutSettings:
    """How completions are sampled.

    Attributes:
        num_generations: completions per prompt, the group of GRPO.
        temperature: divides the logits before sampling; reported log-probabilities don't use it.
        top_p: sample from the smallest set of tokens that holds this much probability; 1 means all.
        max_new_tokens: longest completion.
        max_context_tokens: longest prompt and completion together; a prompt's limit is the smaller of the two.
        engine: one of `ENGINES`.
        cuda_graphs: let a GPU replay a recorded step; changes nothing elsewhere.

    **Source** of the defaults: THUNLP-MT/MUSEG 889565e, training scripts; of the last two: ours.
    """

    num_generations: int = 8
    temperature: float = 0.9
    top_p: float = 1.0
    max_new_tokens: int = 4096
    max_context_tokens: int = 4096
    engine: str = "cascade"
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        rules = {
            "num_generations": (self.num_generations >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0 (greedy_rollouts takes the likeliest token)"),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "max_context_tokens": (self.max_context_tokens >= 2, "at least 2"),
            "engine": (self.engine in ENGINES, f"one of {', '.join(ENGINES)}"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(f"rollout.{name}={getattr(self, name)} must be {rule}")

    def with_num_generations(self, num_generations: int) -> "RolloutSettings":
        """Return the same settings for another group size."""
        return replace(self, num_generations=num_generations)


def sample_rollouts(
    policy: Policy,
    batch: PromptBatch,
    settings: RolloutSettings,
    seeds: Sequence[int],
    record: RecordedLayers | None = None,
) -> Rollouts:
    """Sample G completions of every prompt.

    A prompt's completions depend on its own seed and the weights, not on which other prompts stand in the batch: its
    random numbers are drawn beforehand and turned into tokens through the cumulative distribution.

    Args:
        seeds: one per prompt.
        record: layers whose states are to be recorded meanwhile; nothing else of the result changes.
    """
    if len(seeds) != len(batch.examples):
        raise ValueError(f"{len(seeds)} seeds for {len(batch.examples)} prompts: give one seed for each prompt")
    return ENGINES[settings.engine].sample(policy, batch, settings, seeds, record)


def greedy_rollouts(
    policy: Policy, batch: PromptBatch, settings: RolloutSettings, record: RecordedLayers | None = None
) -> Rollouts:
    """Take the likeliest token throughout: one completion per prompt; `record` is that of `sample_rollouts`."""
    return ENGINES[settings.engine].greedy(policy, batch, settings, record)
