"""What the heads find of an answer: the similarity of its tokens with the steps of the video, and the segments there.

Shapes: K structural tokens of an answer; T steps in time of its video.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings, ScoredSegment, locate, scored_segments
from museg.meco.sample_states import SampleStates, similarity_rows
from museg.meco.structure import Kind
from museg.temporal.segments import Segment

SINGLE_TASKS = ("tvg", "epm", "gvq", "tem")
"""Tasks that ask for one segment. **Source:** pangzss/MeCo d3ed11b, tools/compute_metrics.py."""


@dataclass(frozen=True)
class Located:
    """One answer."""

    kinds: tuple[Kind, ...]  # K, in the order written
    rows: np.ndarray  # [K, T] cosines
    scale: float
    """What the softmax multiplies cosines by."""
    seconds_per_step: float
    segments: tuple[ScoredSegment, ...]
    """Where the events lie, best first; none where there is no event, or it is nowhere."""


@torch.no_grad()
def located(
    heads: AlignmentHeads,
    samples: Sequence[SampleStates],
    seconds_per_step: Sequence[float],
    filled_steps: Sequence[float],
    settings: LocalizationSettings,
) -> list[Located]:
    """What is found of each answer of a batch; of one about a picture nothing.

    `filled_steps`: where each video ends (`museg.meco.localization.scored_segments`).
    """
    rows, scale = similarity_rows(heads, samples)
    found = []
    for sample, cosines, seconds, end in zip(samples, rows, seconds_per_step, filled_steps, strict=True):
        table = cosines.cpu().numpy()
        runs = locate(table, sample.kinds, float(scale), settings) if table.size else []
        segments = scored_segments(runs, seconds, settings, filled_steps=end) if runs else []
        found.append(Located(sample.kinds, table, float(scale), seconds, tuple(segments)))
    return found


def asked_segments(found: Sequence[ScoredSegment], task: str) -> tuple[Segment, ...]:
    """What answers a question of that kind: the best segment where one is asked for, else all, by time."""
    chosen = found[:1] if task in SINGLE_TASKS else found
    return tuple(sorted(scored.segment for scored in chosen))
