"""Runs put in the order of their scores, those left out (or down) that a better one overlaps.

Shapes: n runs. Edges [n, 2] are where they begin and end, in steps; none is without length.
"""

import numpy as np

Ranked = list[tuple[int, float]]
"""Places of runs and their scores, best first."""


def ranked(edges: np.ndarray, scores: np.ndarray, suppression_iou: float) -> Ranked:
    """The runs that no better one overlaps by `suppression_iou` or more; of equal scores the first comes first."""
    kept: Ranked = []
    order = np.argsort(-scores, kind="stable")
    while len(order):
        best, order = order[0], order[1:]
        kept.append((int(best), float(scores[best])))
        order = order[_ious(edges[best], edges[order]) < suppression_iou]
    return kept


def ranked_as_released(edges: np.ndarray, scores: np.ndarray, suppression_iou: float) -> Ranked:
    """All runs, suppressed ones with score 0, which is above negative ones; in float32.

    Each time the best run among those left changes places with the first of them, and what it overlaps gets score 0, to
    be chosen, and to suppress, with that. So the order of runs with equal scores is one of exchanges.

    Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py, get_boundaries.
    """
    edges, scores = edges.astype(np.float32), scores.astype(np.float32)
    order = np.arange(len(scores))
    for place in range(len(order)):
        best = place + int(scores[order[place:]].argmax())
        order[[place, best]] = order[[best, place]]
        rest = order[place + 1 :]
        scores[rest[_ious(edges[order[place]], edges[rest]) >= np.float32(suppression_iou)]] = 0
    order = order[np.argsort(-scores[order], kind="stable")]
    return [(int(index), float(scores[index])) for index in order]


def _ious(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of the edges [2] of a run with each of `others` [n, 2]."""
    shared = np.maximum(np.minimum(one[1], others[:, 1]) - np.maximum(one[0], others[:, 0]), 0)
    return shared / ((one[1] - one[0]) + (others[:, 1] - others[:, 0]) - shared)
