"""The metrics of a step whose prompts were shared out over several processes."""

from collections.abc import Mapping, Sequence

from museg.training import processes

SUMMED = frozenset(
    {
        *("data/num_prompts", "loss/kl", "loss/clip_fraction", "loss/importance_fraction", "train/log_prob_gap_mean"),
        *("loss/text", "loss/structure"),
    }
)
"""Counts, and means over the whole step of which each process holds its share."""
LARGEST = frozenset({"loss/total", "loss/grad_norm", "train/learning_rate", "train/log_prob_gap"})
"""Largest deviations, and what is the same everywhere. So are the timings: a step lasts until the last one is done."""
NUM_PROMPTS = "data/num_prompts"


def combined(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """One step's metrics from those of the processes; what is neither summed nor largest is a mean over prompts."""
    if len(parts) == 1:
        return dict(parts[0])
    return {key: _combine(key, parts) for key in {key: None for part in parts for key in part}}


def whole_step(
    metrics: Mapping[str, float], completions: Sequence[tuple[int, Mapping]]
) -> dict[str, dict[str, float] | list]:
    """What a training step returns, in every process: metrics of all prompts, and completions in the step's order.

    `completions` are this process' records with the place of their prompt in the step.
    """
    measured, sampled = zip(*processes.gather((metrics, completions)), strict=True)
    return {"metrics": combined(measured), "completions": processes.in_order(sampled)}


def _combine(key: str, parts: Sequence[Mapping[str, float]]) -> float:
    holders = [part for part in parts if key in part]
    values = [part[key] for part in holders]
    if key in SUMMED:
        return sum(values)
    if key in LARGEST or key.startswith("time/"):
        return max(values)
    weights = [part[NUM_PROMPTS] for part in holders]
    return sum(value * weight for value, weight in zip(values, weights, strict=True)) / sum(weights)
