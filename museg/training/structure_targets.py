"""What a model learns to write of an example with method=meco, and which steps of its video each token stands for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from museg.data.captions import captions_of
from museg.data.clips import LoadedClip
from museg.meco.structure import Structure, span_targets, write_structure


@dataclass(frozen=True)
class StructureRules:
    """When a gap between events gets a token, and whether the step in which an event ends belongs to it.

    As in `museg.meco.structure.write_structure` and `span_targets`.
    """

    head_gap_s: float
    gap_s: float
    inclusive_end: bool

    def structure_of(self, clip: LoadedClip) -> Structure:
        """The text of a clip's events, captioned as `museg.data.captions` has it, or its reference answer.

        The latter, where words are asked for, has no structural token. Raises ValueError for captions and targets of
        different number.
        """
        example = clip.example
        if example.response is not None and not example.targets:
            return Structure(example.response, ())
        return write_structure(
            captions_of(example),
            example.targets,
            example.duration_s or clip.video.duration_s,
            head_gap_s=self.head_gap_s,
            gap_s=self.gap_s,
        )

    def targets_of(self, structure: Structure, num_steps: int, seconds_per_step: float) -> Tensor:
        """Where each of the structure's tokens belongs, float32 [K, T]."""
        if not structure.spans:
            return torch.zeros(0, num_steps)
        targets = span_targets(structure.spans, num_steps, seconds_per_step, inclusive_end=self.inclusive_end)
        return torch.from_numpy(targets).float()
