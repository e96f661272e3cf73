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
    edges = _edges(predicted, targets, thresholds)
    return [2 * _num_matched(found, len(targets)) / total if total else 0.0 for found in edges]


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
            for column in np.flatnonzero(hits.any(axis=0)):
                num_free = len(targets) - len(found[column])
                found[column] += (start + np.flatnonzero(hits[:, column])[:num_free]).tolist()
        start += len(table)
    return edges


def _num_matched(partners: Sequence[Sequence[int]], num_targets: int) -> int:
    """Size of the largest one-to-one assignment of true segments to one of their partners."""
    columns = [column for found in partners for column in found]
    if not columns:
        return 0
    from scipy.sparse import csr_matrix  # here: slow to import, and only this score needs it
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rows = np.repeat(np.arange(num_targets), [len(found) for found in partners])
    unique, compact = np.unique(columns, return_inverse=True)
    graph = csr_matrix((np.ones(len(rows), dtype=bool), (rows, compact)), shape=(num_targets, len(unique)))
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
