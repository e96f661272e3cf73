"""What a step's rollouts are like: its metrics, and its texts as records."""

from collections.abc import Sequence
from typing import Any

import torch

from museg.data.examples import GroundingExample
from museg.dialogue.responses import ParsedResponse
from museg.metrics.grounding_scores import set_iou
from museg.metrics.keys import reward_key
from museg.policy.rollout import Rollouts
from museg.rewards.base import ScoredResponse


def describe(
    examples: Sequence[GroundingExample],
    rollouts: Rollouts,
    responses: Sequence[ParsedResponse],
    scores: Sequence[ScoredResponse],
    stop_ids: Sequence[int],
) -> dict[str, float]:
    """Metrics of the rollouts of these prompts; what each key means stands in `museg.metrics.keys`."""
    targets = [examples[group].targets for group in rollouts.group_of.tolist()]
    predicted = [response.segments or () for response in responses]
    lengths = rollouts.completion_mask.sum(dim=1)
    stops = torch.tensor(stop_ids, device=lengths.device)
    ended = (torch.isin(rollouts.completion_ids, stops) & rollouts.completion_mask.bool()).any(dim=1)
    totals = torch.tensor([score.total for score in scores]).view(len(examples), -1)  # [B, G]
    metrics = {
        "data/num_prompts": float(len(examples)),
        "reward/total": float(totals.mean()),
        "reward/group_std": float(totals.std(dim=1).mean()),
        "reward/zero_std_share": float((totals == totals[:, :1]).all(dim=1).float().mean()),
        "train/mean_iou": _mean([set_iou(p, t) for p, t in zip(predicted, targets, strict=True)]),
        "train/well_formed_share": _mean([response.fault is None for response in responses]),
        "train/num_predicted_segments": _mean([len(p) for p in predicted]),
        "train/num_true_segments": _mean([len(t) for t in targets]),
        "train/completion_tokens": float(lengths.float().mean()),
        "train/truncated_share": float((~ended).float().mean()),
    }
    return metrics | {reward_key(term): _mean([s.terms[term] for s in scores]) for term in scores[0].terms}


def completion_records(
    step: int, phase: str, examples: Sequence[GroundingExample], rollouts: Rollouts, scores: Sequence[ScoredResponse]
) -> list[dict[str, Any]]:
    """The texts of the step with index `step`, prompt by prompt, with what they were asked and what they earned."""
    asked = [examples[group] for group in rollouts.group_of.tolist()]
    return [
        {
            "step": step + 1,
            "phase": phase,
            "example_id": example.example_id,
            "query": example.query,
            "targets": example.targets,
            "duration_s": example.duration_s,
            "text": text,
            "reward": score.total,
            "terms": dict(score.terms),
        }
        for example, text, score in zip(asked, rollouts.texts, scores, strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
