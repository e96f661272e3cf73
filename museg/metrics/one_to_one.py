"""Segment F1 in which every predicted and every true segment counts once, by an assignment that hits most."""

from collections.abc import Sequence

import numpy as np

from museg.metrics.overlaps import TIE_TOLERANCE, iou_chunks
from museg.temporal.segments import Segment

_FEW_CELLS = 24
"""Up to so many IoUs, plain floats are faster than arrays."""
_FEW_HITS = 256
"""Up to so many, looking for partners one by one is faster than building a sparse graph, and no path gets long."""


def one_to_one_f1(predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]) -> list[float]:
    """2 m / (P + G) for every threshold: m is the largest number of pairs with IoU >= threshold, each segment in one.

    IoUs are float64 and an exact tie hits; an undefined IoU hits nothing. 0 without segments.
    """
    total = len(predicted) + len(targets)
    return [2 * num / total if total else 0.0 for num in num_pairs(predicted, targets, thresholds)]


def num_pairs(predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]) -> list[int]:
    """For every threshold, the largest number of one-to-one pairs with IoU >= threshold; ties as above."""
    are_few = len(predicted) * len(targets) <= _FEW_CELLS
    edges = (_few_edges if are_few else _edges)(predicted, targets, thresholds)
    return [_num_matched([partners for partners in found if partners]) for found in edges]


def _few_edges(
    predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]
) -> list[list[list[int]]]:
    """As `_edges`, one IoU after the other."""
    table = [[_iou(segment, target) for segment in predicted] for target in targets]
    limits = [threshold - TIE_TOLERANCE for threshold in thresholds]
    return [[[index for index, iou in enumerate(row) if iou >= limit] for row in table] for limit in limits]


def _iou(one: Segment, other: Segment) -> float:
    """One cell of `iou_table` in float64, its operations in the same order."""
    (start_s, end_s), (other_start_s, other_end_s) = one, other
    shared_s = max(min(end_s, other_end_s) - max(start_s, other_start_s), 0.0)
    union_s = (other_end_s - other_start_s) + (end_s - start_s) - shared_s
    return shared_s / union_s if union_s else float("nan")  # segments that share time have a union


def _edges(
    predicted: Sequence[Segment], targets: Sequence[Segment], thresholds: Sequence[float]
) -> list[list[list[int]]]:
    """For every threshold and true segment the predictions that meet it, as indices.

    No more than G of them: of G partners one is always free, so further ones cannot make more pairs.
    """
    most = len(targets)
    edges: list[list[list[int]]] = [[[] for _ in targets] for _ in thresholds]
    start = 0
    for table in iou_chunks(predicted, targets, np.float64):
        for found, threshold in zip(edges, thresholds, strict=True):
            lacking = [partners for partners in found if len(partners) < most]
            hits = table.T[[len(partners) < most for partners in found]] >= threshold - TIE_TOLERANCE
            if np.count_nonzero(hits) > _FEW_HITS:
                hits &= hits.cumsum(axis=1) <= most
            for index, row in zip(*map(np.ndarray.tolist, np.nonzero(hits)), strict=True):
                if len(lacking[index]) < most:
                    lacking[index].append(start + row)
        start += len(table)
    return edges


def _num_matched(partners: Sequence[Sequence[int]]) -> int:
    """Size of the largest one-to-one assignment of true segments to one of their partners, of which each has some."""
    if len(partners) <= 1:
        return len(partners)
    if sum(map(len, partners)) > _FEW_HITS:
        return _num_matched_sparse(partners)
    owner: dict[int, int] = {}
    return sum(_is_placed(target, partners, owner, set()) for target in range(len(partners)))


def _is_placed(target: int, partners: Sequence[Sequence[int]], owner: dict[int, int], tried: set[int]) -> bool:
    """Give `target` a partner, if need be one whose owner finds another (an augmenting path); False if none is left."""
    for partner in partners[target]:
        if partner not in tried:
            tried.add(partner)
            if partner not in owner or _is_placed(owner[partner], partners, owner, tried):
                owner[partner] = target
                return True
    return False


def _num_matched_sparse(partners: Sequence[Sequence[int]]) -> int:
    from scipy.sparse import csr_matrix  # here: slow to import, and only answers with many hits need it
    from scipy.sparse.csgraph import maximum_bipartite_matching

    unique, columns = np.unique(np.concatenate(partners), return_inverse=True)
    rows = np.repeat(np.arange(len(partners)), [len(found) for found in partners])
    graph = csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(partners), len(unique)))
    return int(np.count_nonzero(maximum_bipartite_matching(graph, perm_type="column") >= 0))
