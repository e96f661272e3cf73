"""Grounding scores averaged over samples, across batches and processes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torchmetrics import Metric

from museg.metrics.grounding_scores import grounding_scores
from museg.temporal.segments import Segment


class GroundingMetrics(Metric):
    """Mean of every grounding score over all samples seen by all processes.

    `update` takes one predicted and one true list of segments, plus any further named numbers of that sample (rewards,
    whether the answer was well formed). `compute` returns name -> mean; without samples it returns an empty mapping.
    `options` are those of every torchmetrics metric.
    Sums are kept in float64, so the mean does not depend on how samples were split into batches beyond 1e-12.
    """

    full_state_update = False

    def __init__(self, extra_names: Sequence[str] = (), **options: Any) -> None:
        super().__init__(**options)
        self.names = [*grounding_scores([], []), *extra_names]
        self.add_state("sums", torch.zeros(len(self.names), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("num_samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(
        self, predicted: Sequence[Segment], targets: Sequence[Segment], extra: Mapping[str, float] | None = None
    ) -> None:
        """Add one sample; `extra` must hold exactly the `extra_names` given at construction."""
        values = grounding_scores(predicted, targets) | dict(extra or {})
        if set(values) != set(self.names):
            raise ValueError(f"extra names must be {self.names[-len(values) :]}; given {sorted(extra or {})}")
        self.sums += torch.tensor([values[name] for name in self.names], dtype=torch.float64, device=self.sums.device)
        self.num_samples += 1

    def compute(self) -> dict[str, float]:
        """Name -> mean over all samples."""
        if not int(self.num_samples):
            return {}
        means = (self.sums / self.num_samples).tolist()
        return dict(zip(self.names, means, strict=True))
