"""The released scores worked out sample by sample: a tensor for every IoU, the encoder called for every text.

Plain on purpose, and without anything of the package: it is what the metric tables are measured and checked against.

Source: THUNLP-MT/MUSEG 889565e, src/eval_grounding.py and data/eval/et_bench/compute_metrics.py.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from tests.benchmarks import released_parsers as parsers

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)
Scores = dict[str, float]
Row = Mapping[str, Any]
Similarity = Callable[[str, str], float]


def iou(predicted: Sequence[Sequence[float]], targets: Sequence[Sequence[float]]) -> torch.Tensor:
    """float32 IoU of all pairs, [predicted, targets]."""
    one, other = torch.tensor(predicted)[:, None], torch.tensor(targets)[None]
    shared = (torch.min(one[..., 1], other[..., 1]) - torch.max(one[..., 0], other[..., 0])).clamp(min=0)
    return shared / (one[..., 1] - one[..., 0] + (other[..., 1] - other[..., 0]) - shared)


def grounding_tvg(rows: Sequence[Row], texts: Sequence[str]) -> Scores:
    """The grounding script, task tvg: first segment against first segment; nothing is rounded."""
    total, hits = 0.0, dict.fromkeys(THRESHOLDS, 0)
    for row, text in zip(rows, texts, strict=True):
        pairs = parsers.number_pairs(text)
        if pairs:
            value = iou(pairs[:1], row["groundtruth"][:1]).item()
            total += value
            for threshold in THRESHOLDS:
                hits[threshold] += value >= threshold
    shares = {f"f1_single_{threshold}": hits[threshold] / len(rows) for threshold in THRESHOLDS}
    return {"m_iou": total / len(rows), **shares, "mean_f1_single": sum(shares.values()) / len(THRESHOLDS)}


def et_bench(rows: Sequence[Row], texts: Sequence[str], similarity: Similarity) -> dict[str, Scores]:
    """`task/source` -> its scores, five decimals."""
    groups: dict[str, list[tuple[Row, str]]] = {}
    for row, text in zip(rows, texts, strict=True):
        groups.setdefault(f"{row['task']}/{row['source']}", []).append((row, text))
    return {name: _group(name.partition("/")[0], pairs, similarity) for name, pairs in groups.items()}


def _group(task: str, pairs: Sequence[tuple[Row, str]], similarity: Similarity) -> Scores:
    if task in ("rar", "eca", "rvq"):
        scores = _choices(pairs, similarity)
    elif task in ("tvg", "epm", "tem", "gvq"):
        scores = _first_ranges(task, pairs, similarity)
    else:
        scores = {"tal": _actions, "evs": _summaries, "vhd": _highlights, "dvc": _moments, "slc": _moments}[task](pairs)
    return {"Total": len(pairs)} | {name: round(value, 5) for name, value in scores.items()}


def _choices(pairs: Sequence[tuple[Row, str]], similarity: Similarity) -> Scores:
    """A right letter is a hit; after a wrong one, or none, texts are compared."""
    num_hits, num_failed = 0, 0
    letters = "abcde"[: len(pairs[0][0]["o"])]
    for row, text in pairs:
        truth = letters[row["p"]]
        found = re.search(r"\(([A-Za-z])\)", text)
        if found and found[1].lower() == truth:
            num_hits += 1
            continue
        rest = parsers.without_preamble(text.lower())
        letter = parsers.opening_letter(rest) if rest else None
        num_failed += not found and letter is None
        if letter == truth or (rest and _closest(rest, row["o"], similarity) == row["p"]):
            num_hits += 1
    return {"Failed": num_failed, "Acc": num_hits / len(pairs)}


def _closest(text: str, options: Sequence[Any], similarity: Similarity) -> int:
    shown = [f"{option[0]} - {option[1]}" if isinstance(option, list) else option for option in options]
    scores = [similarity(text, f"({letter}) {option}") for letter, option in zip("ABCDE", shown, strict=False)]
    return scores.index(max(scores))


def _first_ranges(task: str, pairs: Sequence[tuple[Row, str]], similarity: Similarity) -> Scores:
    """tvg, epm, tem, and gvq, where only a right option is asked for its range."""
    num_failed, num_right, total, hits = 0, 0, 0.0, dict.fromkeys(THRESHOLDS, 0)
    for row, text in pairs:
        if task == "gvq":
            option = _opening_option(text, row, similarity)
            if option != row["p"]:
                num_failed += option is None
                continue
            num_right += 1
        segments = parsers.ranges(text)
        if segments is None:
            num_failed += 1
            continue
        value = iou(segments[:1], row["tgt"] if task == "tem" else [row["tgt"]]).max().item()
        total += value
        for threshold in THRESHOLDS:
            hits[threshold] += value >= threshold
    stem, mean = ("R", "mRec") if task in ("tem", "gvq") else ("F1", "F1")
    scores = {"Failed": num_failed, "mIoU": total / len(pairs), **_with_mean(stem, mean, hits, len(pairs))}
    return scores | ({"Acc": num_right / len(pairs)} if task == "gvq" else {})


def _opening_option(text: str, row: Row, similarity: Similarity) -> int | None:
    rest = parsers.without_preamble(text)
    if not rest:
        return None
    letter = parsers.opening_letter(rest)
    letters = "abcde"[: len(row["o"])]
    return letters.index(letter) if letter and letter in letters else _closest(rest, row["o"], similarity)


def _with_mean(stem: str, mean: str, sums: Mapping[float, float], number: int) -> Scores:
    shares = {f"{stem}@{threshold}": total / number for threshold, total in sums.items()}
    return {**shares, mean: sum(shares.values()) / len(shares)}


def _actions(pairs: Sequence[tuple[Row, str]]) -> Scores:
    num_failed, sums = 0, dict.fromkeys(THRESHOLDS, 0.0)
    for row, text in pairs:
        segments = parsers.ranges(text)
        if segments is None:
            num_failed += 1
            continue
        table = iou(segments, row["tgt"])
        for threshold in THRESHOLDS:
            if table.max() < threshold:
                continue
            recall = (table.max(dim=0).values >= threshold).float().mean().item()
            precision = (table.max(dim=1).values >= threshold).float().mean().item()
            sums[threshold] += 2 * precision * recall / (precision + recall)
    return {"Failed": num_failed, **_with_mean("F1", "F1", sums, len(pairs))}


def _summaries(pairs: Sequence[tuple[Row, str]]) -> Scores:
    """Seconds named and true seconds on a grid of 1,000; answers that cannot be read are left out."""
    found = []
    for row, text in pairs:
        segments = parsers.ranges(text)
        if segments is None:
            continue
        named, true = _grid(segments), _grid(row["tgt"])
        num_shared = (named * true).sum().item()
        precision, recall = (num_shared / side.sum().item() if num_shared else 0.0 for side in (named, true))
        found.append(2 * precision * recall / (precision + recall) if num_shared else 0.0)
    return {"Failed": len(pairs) - len(found), "F1": sum(found) / len(found) if found else 0.0}


def _grid(segments: Sequence[Sequence[float]]) -> torch.Tensor:
    grid = torch.zeros(1000)
    for start_s, end_s in segments:
        grid[max(0, round(start_s)) : round(end_s)] = 1
    return grid


def _highlights(pairs: Sequence[tuple[Row, str]]) -> Scores:
    num_failed, num_hits = 0, 0
    for row, text in pairs:
        time_s = parsers.moment(text)
        if time_s is None:
            num_failed += 1
            continue
        truths = row["tgt"] if isinstance(row["tgt"][0][0], list) else [row["tgt"]]
        num_hits += any(start_s <= time_s <= end_s for ranges in truths for start_s, end_s in ranges)
    return {"Failed": num_failed, "F1": num_hits / len(pairs)}


def _moments(pairs: Sequence[tuple[Row, str]]) -> Scores:
    """Detection of dvc and slc: by video name, so that a later answer replaces an earlier one."""
    num_failed, kept = 0, {}
    for row, text in pairs:
        found = parsers.captioned_ranges(text)
        if found is None:
            num_failed += 1
        else:
            kept[row["video"]] = (found[0][:1000], row["tgt"])
    scale, scores = len(kept) / len(pairs), {}
    for threshold in THRESHOLDS:
        precisions, recalls = [], []
        for predicted, targets in kept.values():
            hits = [[_hull_iou(one, other) > threshold for other in targets] for one in predicted]
            precisions.append(sum(map(any, hits)) / len(predicted))
            recalls.append(sum(map(any, zip(*hits, strict=True))) / len(targets))
        precision, recall = (sum(side) / len(side) * scale if kept else 0.0 for side in (precisions, recalls))
        scores[f"F1@{threshold}"] = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"Failed": num_failed, **scores, "F1": sum(scores.values()) / len(scores)}


def _hull_iou(one: Sequence[float], other: Sequence[float]) -> float:
    shared = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    hull = max(one[1], other[1]) - min(one[0], other[0])
    return shared / (min(hull, one[1] - one[0] + other[1] - other[0]) + 1e-8)
