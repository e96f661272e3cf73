"""Scored windows and clip saliency for answers that only list segments, which is all a text can do.

Both are derived here, not taken from a published script: a text gives neither confidences nor saliency.
"""

from collections.abc import Sequence

import numpy as np

from museg.metrics.highlights import CLIP_LENGTH_S
from museg.metrics.moment_retrieval import Window
from museg.temporal.segments import Segment

_CHUNK = 4096


def windows_of(segments: Sequence[Segment] | None, duration_s: float) -> tuple[Window, ...]:
    """Segments in the order written with scores falling evenly from 1; without any, the whole video with score 1.

    The whole video for an answer without a segment is what the published tools submit, so that every query has a
    window. **Source:** pangzss/MeCo 1885e32, tools/compute_metrics_charades_qvh.py.
    """
    if not segments:
        return ((0.0, float(duration_s), 1.0),)
    num = len(segments)
    return tuple((start_s, end_s, 1.0 - place / num) for place, (start_s, end_s) in enumerate(segments))


def saliency_of(windows: Sequence[Window], duration_s: float) -> tuple[float, ...]:
    """A score for each whole 2-second clip: that of the best window over the clip's middle, 0 where there is none.

    Scores of windows are expected to be positive.
    """
    middles_s = (np.arange(int(duration_s / CLIP_LENGTH_S)) + 0.5) * CLIP_LENGTH_S
    saliency = np.zeros(len(middles_s))
    ranked = np.array(windows, dtype=np.float64).reshape(-1, 3)
    ranked = ranked[np.argsort(-ranked[:, 2], kind="stable")]
    for begin in range(0, len(ranked), _CHUNK):
        starts_s, ends_s, scores = ranked[begin : begin + _CHUNK].T
        is_over = (starts_s[:, None] <= middles_s) & (middles_s <= ends_s[:, None])  # [chunk, clips], best first
        is_new = is_over.any(axis=0) & (saliency == 0)
        saliency[is_new] = scores[is_over.argmax(axis=0)[is_new]]
    return tuple(saliency.tolist())
