"""Moment retrieval and highlights against recorded outputs of the published evaluation (MeCo, after Moment-DETR)."""

import json

import pytest

from museg.metrics.highlights import HighlightTable
from museg.metrics.moment_retrieval import MomentRetrievalTable
from museg.temporal.segments import Segment
from tests.shared import ORACLES, require


def recorded_cases() -> list[dict]:
    return json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))["meco_vtg_eval"]


def flattened(out: dict) -> dict[str, float]:
    """Our names for everything recorded: the nested tables, and the brief one as it is."""
    flat = dict(out["brief"])
    for name in ("full", "long", "middle", "short"):
        table = out[name]
        flat[f"MR-{name}-mIoU"] = table["MR-mIoU"]
        for score in ("R1", "R5"):
            flat |= {f"MR-{name}-{score}@{t}": value for t, value in table[f"MR-{score}"].items()}
        flat |= {f"MR-{name}-mAP@{t}": value for t, value in table["MR-mAP"].items() if t != "average"}
        flat[f"MR-{name}-mAP"] = table["MR-mAP"]["average"]
    for key, scores in out.items():
        if key.startswith("HL-"):
            flat |= {f"{key}-{name.removeprefix('HL-')}": value for name, value in scores.items()}
    return flat


def test_recorded_query_sets():
    cases = recorded_cases()
    assert len(cases) == 24
    for number, case in enumerate(cases):
        moments, highlights = MomentRetrievalTable(), HighlightTable()
        for position, query in enumerate(case["queries"]):
            moments.update(
                position, query["pred_relevant_windows"], [Segment(*window) for window in query["relevant_windows"]]
            )
            if "pred_saliency_scores" in query:
                highlights.update(position, query["pred_saliency_scores"], query)
        found = moments.compute() | (highlights.compute() if "HL-min-Fair" in case["out"] else {})
        # both sides are rounded to two decimals: equal up to the float they are stored in
        assert found == pytest.approx(flattened(case["out"]), abs=1e-9), number
