"""How salient each part of a video is for what was asked: the attention of its events, in steps or in clips.

Shapes: K structural tokens; T temporal steps of the video grid.
"""

from collections.abc import Sequence

import numpy as np

from museg.meco.localization import step_probabilities
from museg.meco.structure import Kind

CLIP_S = 2.0
"""Length of the clips for which QVHighlights asks a score."""


def event_saliency(rows: np.ndarray | Sequence[Sequence[float]], kinds: Sequence[Kind], scale: float) -> np.ndarray:
    """Mean over the events of their softmax over the video, [T]; of length 0 when there is no event.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics_charades_qvh.py, where 1 stands for every step when there is no
    event: the full score for an answer without one.
    """
    is_event = [kind is Kind.EVENT for kind in kinds]
    if not any(is_event):
        return np.zeros(0)
    return step_probabilities(np.asarray(rows, dtype=np.float64)[is_event], scale).mean(axis=0)


def clip_saliency(saliency: np.ndarray, seconds_per_step: float, duration_s: float) -> tuple[float, ...]:
    """Mean saliency of every whole clip of the video, steps counting by the time they share; what no step covers is 0.

    One score for every CLIP_S of `duration_s`; none without saliency.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics_charades_qvh.py, which takes the mean of two steps of 1 s.
    """
    if not len(saliency):
        return ()
    step_edges_s = np.arange(len(saliency) + 1) * seconds_per_step
    clip_edges_s = np.arange(int(duration_s / CLIP_S) + 1) * CLIP_S
    total_until = np.concatenate(([0.0], np.cumsum(saliency) * seconds_per_step))
    return tuple((np.diff(np.interp(clip_edges_s, step_edges_s, total_until)) / CLIP_S).tolist())
