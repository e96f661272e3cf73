"""Segment F1 in which every predicted and every true segment counts once, by an assignment that hits most."""

from collections.abc import Sequence

import numpy as np

from museg.metrics.overlaps import TIE_TOLERANCE, iou_chunks
from museg.temporal.segments import Segment


def one_to_one_f1(predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]) -> list[float]:
    """2 m / (P + G) for every threshold: m is the largest number of pairs with IoU >= threshold, each segment in one.

    IoUs are float64 and an exact tie hits; an undefined IoU hits nothing. 0 without segments.
    """
    total = len(predicted) + len(targets)
    return [2 * num / total if total else 0.0 for num in num_pairs(predicted, targets, thresholds)]


def num_pairs(predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]) -> list[int]:
    """For every threshold, the largest number of one-to-one pairs with IoU >= threshold; ties as above."""
    return [_num_matched(found) for found in _edges(predicted, targets, thresholds)]


def _edges(
    predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]
) -> list[list[list[int]]]:
    """For every threshold and true segment the predictions that meet it, as indices.

    No more than G of them: of G partners one is always free, so further ones cannot make more pairs.
    """
    edges: list[list[list[int]]] = [[[] for _ in targets] for _ in thresholds]
    start = 0
    for table in iou_chunks(predicted, targets, np.float64):
        for found, threshold in zip(edges, thresholds, strict=True):
            hits = table >= threshold - TIE_TOLERANCE
            for partners, column in zip(found, hits.T, strict=True):
                num_free = len(targets) - len(partners)
                if num_free and column.any():
                    partners += (start + np.flatnonzero(column)[:num_free]).tolist()
        start += len(table)
    return edges


def _num_matched(partners: Sequence[Sequence[int]]) -> int:
    """Size of the largest one-to-one assignment of true segments to one of their partners."""
    partners = [found for found in partners if found]
    columns = [column for found in partners for column in found]
    unique, compact = np.unique(columns, return_inverse=True)
    if min(len(partners), len(unique)) <= 1:
        return min(len(partners), len(unique))
    from scipy.sparse import csr_matrix  # here: slow to import, and only answers with several hits need it
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rows = np.repeat(np.arange(len(partners)), [len(found) for found in partners])
    graph = csr_matrix((np.ones(len(rows), dtype=bool), (rows, compact)), shape=(len(partners), len(unique)))
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
