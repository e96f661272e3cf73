"""Folders of compared runs with invented numbers, in the form that `museg.evaluation.comparison` writes."""

import json
import random
from pathlib import Path
from typing import Any

from tests.report.invented_evaluation import HOSTILE, write_invented_evaluation

RUN_SKILLS = {"museg-3b": 0.55, "museg-7b": 0.8, "third": 0.7}


def write_invented_comparison(
    folder: Path,
    benchmarks: tuple[str, ...] = ("charades_sta", "et_bench"),
    num_samples: int = 60,
    num_runs: int = 2,
    hostile: bool = False,
) -> Path:
    """A comparison beside the evaluations it compares."""
    names = list(RUN_SKILLS)[:num_runs]
    for name in names:
        for benchmark in benchmarks:
            place = folder / "runs" / name / benchmark
            write_invented_evaluation(place, benchmark, num_samples, RUN_SKILLS[name], hostile)
    out = folder / "compared"
    out.mkdir()
    shown = [HOSTILE[0], HOSTILE[1], "third"][:num_runs] if hostile else names
    comparison = {
        "runs": [
            {"name": shown[place], "folders": {b: f"../runs/{name}/{b}" for b in benchmarks}}
            for place, name in enumerate(names)
        ],
        "num_resamples": 10_000,
        "seed": 0,
        "num_samples": dict.fromkeys(benchmarks, num_samples),
        "metrics": [metric for benchmark in benchmarks for metric in _metrics(benchmark, num_runs)],
        "published": [_published(model, b) for b in benchmarks for model in MODELS],
    }
    (out / "comparison.json").write_text(json.dumps(comparison), encoding="utf-8")
    return out


MODELS = ("MUSEG-7B", "MUSEG-3B", "Qwen2.5-VL-7B", "Qwen2.5-VL-3B", "Time-R1-7B", "VideoChat-R1", "TimeLens2-8B")


def _published(model: str, benchmark: str) -> dict[str, Any]:
    return {
        "model": model,
        "benchmark": benchmark,
        "section": "official",
        "name": "m_iou",
        "value": random.Random(model).uniform(0.3, 0.6),
        "column": "charades",
        "source": f"{model.partition('-')[0]}, README of its repository",
        "differs": "another annotation of the same videos" if model.startswith("TimeLens") else "",
    }


def _metrics(benchmark: str, num_runs: int) -> list[dict[str, Any]]:
    rng = random.Random(benchmark)
    groups = [""] if benchmark == "charades_sta" else ["", "tvg/charades_sta", "tal/thumos14"]
    names = [("official", "m_iou"), ("official", "mean_f1_single"), ("field", "mean_iou"), ("field", "recall@1@0.5")]
    return [_metric(benchmark, group, *key, num_runs, rng) for group in groups for key in names]


def _metric(benchmark: str, group: str, section: str, name: str, num_runs: int, rng: random.Random) -> dict[str, Any]:
    values = [rng.uniform(0.3, 0.7) for _ in range(num_runs)]
    return {
        "benchmark": benchmark,
        "group": group,
        "section": section,
        "name": name,
        "is_headline": not group and section == "official",
        "estimates": [{"value": value, "low": value - 0.03, "high": value + 0.03} for value in values],
        "differences": [
            {"value": d, "low": d - 0.02, "high": d + 0.02, "p_value": 0.0002 if abs(d) > 0.02 else 0.4}
            for d in (value - values[0] for value in values[1:])
        ],
    }
