"""The lenient reader against the released evaluation (THUNLP-MT/MUSEG 889565e, src/eval_grounding.py): all its numbers.

The scores are worked out here in a few lines of float32 arithmetic, as the release computes them, so that a difference
points at the reading.
"""

import json
from collections.abc import Sequence

import numpy as np
import pytest

from museg.dialogue.responses import read_lenient, read_lenient_answer
from museg.temporal.segments import Segment
from tests.shared import ORACLES, require

THRESHOLDS = (0.1, 0.3, 0.5, 0.7)


def record() -> dict:
    return json.loads(require(ORACLES / "museg_eval.json").read_text("utf-8"))


def iou_table(predictions: Sequence[Segment], truths: Sequence[Sequence[float]]) -> np.ndarray:
    """float32 IoU of every prediction with every truth, [predictions, truths]."""
    one = np.array(predictions, dtype=np.float32)[:, None]
    other = np.array(truths, dtype=np.float32)[None]
    shared = np.clip(np.minimum(one[..., 1], other[..., 1]) - np.maximum(one[..., 0], other[..., 0]), 0, None)
    union = (one[..., 1] - one[..., 0]) + (other[..., 1] - other[..., 0]) - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return shared / union


def tvg(entries: list) -> dict[str, float]:
    """First prediction against first truth; the float32 IoU meets the float64 threshold."""
    ious = []
    for truths, output in entries:
        predictions = read_lenient_answer(output)
        ious.append(float(iou_table(predictions[:1], truths[:1])[0, 0]) if predictions else 0.0)
    stats = {f"f1_single_{t}": sum(value >= t for value in ious) / len(ious) for t in THRESHOLDS}
    return {"tot": len(ious), "m_iou": sum(ious) / len(ious), **stats, "mean_f1_single": sum(stats.values()) / 4}


def sample_f1(table: np.ndarray, threshold: float) -> float:
    """F1 of hits in float32: a truth is found by any prediction, a prediction is right by any truth."""
    hits = table >= np.float32(threshold)
    recall = float(hits.any(axis=0).mean(dtype=np.float32))
    precision = float(hits.any(axis=1).mean(dtype=np.float32))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def tal(entries: list) -> dict[str, float]:
    """F1 per sample and threshold, averaged over samples."""
    sums = dict.fromkeys(THRESHOLDS, 0.0)
    for truths, output in entries:
        predictions = read_lenient_answer(output)
        for t in THRESHOLDS if predictions else ():
            sums[t] += sample_f1(iou_table(predictions, truths), t)
    stats = {f"f1_multi_{t}": total / len(entries) for t, total in sums.items()}
    return {"tot": len(entries), **stats, "mean_f1_multi": sum(stats.values()) / 4}


def expected(stats: dict) -> dict[str, float]:
    """Recorded statistics as floats (NaN is written "nan")."""
    return {name: float(value) for name, value in stats.items()}


def test_forty_recorded_datasets():
    datasets = record()["datasets"]
    assert len(datasets) == 40
    for number, dataset in enumerate(datasets):
        label = f"dataset {number}: {dataset['source']}, {dataset['kind']}"
        assert tvg(dataset["entries"]) == pytest.approx(expected(dataset["tvg"]), abs=1e-9, nan_ok=True), label
        assert tal(dataset["entries"]) == pytest.approx(expected(dataset["tal"]), abs=1e-9, nan_ok=True), label


def test_recorded_single_cases():
    cases = record()["single_cases"]
    assert len(cases) == 78
    for case in cases:
        entries = [(case["groundtruth"], case["output"])]
        if case.get("error"):
            assert not case["groundtruth"]  # without truths the release raises; such an example is no data
            continue
        assert tvg(entries) == pytest.approx(expected(case["tvg"]), abs=1e-9, nan_ok=True), case["output"]
        assert tal(entries) == pytest.approx(expected(case["tal"]), abs=1e-9, nan_ok=True), case["output"]


def test_the_text_read_is_the_inside_of_the_answer_block():
    for case in record()["single_cases"]:
        if "answer>" not in case["output"]:
            response = read_lenient(f"<think>first</think><answer> {case['output']}\n</answer>")
            assert response.segments == read_lenient_answer(case["output"])
