"""Evaluation folders of invented answers, in the form that scoring writes; metrics here are plausible, not computed."""

import json
import random
from pathlib import Path
from typing import Any

HOSTILE = (
    "</script><script>window.owned=1</script>",
    '"><img src=x onerror="window.owned=2">',
    "<style>*{display:none}</style><!-- \u202egnihtyna\u2028\u0000",
    "$\\frac{1}{2$ {{ 7*7 }} {% raw %} ]]> &amp; \\u003c/script>",
)
KINDS = ("unreadable", "missing", "official_raises", "no_answer_block")
ET_BENCH = {
    "tvg": ("charades_sta", "qvhighlights"),
    "tal": ("thumos14", "perception_test"),
    "evs": ("tvsum",),
    "rar": ("perception_test",),
    "gvq": ("qa_ego4d",),
}
THRESHOLDS = ("0.1", "0.3", "0.5", "0.7")


def write_invented_evaluation(
    folder: Path, benchmark: str = "charades_sta", num_samples: int = 120, skill: float = 0.7, hostile: bool = False
) -> Path:
    """An evaluation folder; the same questions for every `skill` (0: guesses, 1: always right)."""
    folder.mkdir(parents=True)
    tasks = ET_BENCH if benchmark == "et_bench" else {"tvg": (benchmark,)}
    samples = [_sample(row, tasks, skill, hostile) for row in range(num_samples)]
    write_lines(folder / "samples.jsonl", samples)
    _write(folder / "metrics.json", _metrics(benchmark, samples, hostile))
    _write(folder / "evaluation.json", _identity(benchmark, samples, skill, hostile))
    (folder / "config.yaml").write_text(f"benchmark:\n  name: {benchmark}\n", encoding="utf-8")
    write_lines(folder / "predictions.jsonl", [{"header": {"benchmark": benchmark}}])
    write_lines(
        folder / "quarantine.jsonl",
        [{"video": HOSTILE[1] if hostile else "charades/BROKE.mp4", "reasons": {"decord": "moov atom not found"}}],
    )
    return folder


def write_invented_rewards(folder: Path, hostile: bool = False) -> Path:
    """The folder that scoring completions with solutions leaves."""
    folder.mkdir(parents=True)
    rng = random.Random(3)
    names = ("format", "timestamp", "coverage", HOSTILE[0] if hostile else "local")
    rows = []
    for row in range(200):
        terms = {name: round(rng.random(), 3) for name in names}
        rows.append({"id": row, "total": sum(terms.values()), "terms": terms})
    write_lines(folder / "scores.jsonl", rows)
    statistics = {"mean": 0.52, "std": 0.29, "min": 0.001, "max": 0.998}
    terms = dict.fromkeys(names, statistics)
    _write(
        folder / "metrics.json",
        {"mode": "completions", "num_samples": 200, "total": statistics | {"mean": 2.1}, "terms": terms},
    )
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")


def _sample(row: int, tasks: dict[str, tuple[str, ...]], skill: float, hostile: bool) -> dict[str, Any]:
    truth = random.Random(row)  # the same for every skill
    answers = random.Random(f"{row} {skill}")
    task = list(tasks)[row % len(tasks)]
    source = tasks[task][row % len(tasks[task])]
    duration_s = truth.uniform(20, 180)
    targets = _targets(truth, duration_s, 1 if task in ("tvg", "gvq") else truth.choice([1, 2, 3, 4, 9]))
    is_letter = task == "rar"
    failure = answers.choice(KINDS) if answers.random() < 0.05 else None
    segments = None if failure or is_letter else _answer(answers, targets, duration_s, skill)
    iou = None if is_letter else _iou(segments or [], targets)
    text = "(B)" if is_letter else "The event happens in " + ", ".join(f"{a} - {b} seconds" for a, b in segments or [])
    official = {"hit": float(answers.random() < skill)} if is_letter else {"iou": iou, "Failed": float(bool(failure))}
    return {
        "id": f"{task}/{source}/{row}" if len(tasks) > 1 else str(row),
        "row": row,
        "task": task,
        "source": source,
        "video": HOSTILE[1] if hostile else f"{source}/{truth.randrange(10**9):09X}.mp4",
        "question": HOSTILE[row % 4] if hostile else truth.choice(QUESTIONS),
        "targets": [] if is_letter else targets,
        "duration_s": duration_s,
        "answer": HOSTILE[row % 4] * 30 if hostile else text,
        "segments": segments,
        "num_segments": None if segments is None else len(segments),
        "failure": HOSTILE[0] if hostile and failure else failure,
        "iou": iou,
        "values": {"official": official, "field": {"mean_iou": iou, "spoiled": "inf"}},
    }


QUESTIONS = (
    "person opens the fridge and takes out a bottle of milk.",
    "the diver leaves the board",
    "a person is sitting on the sofa laughing at something they read on their phone, then puts it on the table.",
    "When does the cook add salt? Give every moment at which the hand reaches over the pot, however short.",
)


def _targets(rng: random.Random, duration_s: float, count: int) -> list[list[float]]:
    ends = sorted(round(rng.uniform(0, duration_s), 1) for _ in range(2 * count))
    return [[start, max(end, start + 0.5)] for start, end in zip(ends[::2], ends[1::2], strict=True)]


def _answer(rng: random.Random, targets: list[list[float]], duration_s: float, skill: float) -> list[list[float]]:
    found = []
    for start, end in targets:
        if rng.random() < 0.15 * (1 - skill):
            continue
        shift = rng.gauss(0, (1 - skill) * duration_s / 6)
        found.append([round(max(0.0, start + shift), 1), round(max(0.5, end + shift + rng.gauss(0, 1)), 1)])
    return [[min(pair), max(pair)] for pair in found]


def _iou(segments: list[list[float]], targets: list[list[float]]) -> float:
    inside = sum(max(0.0, min(b, d) - max(a, c)) for a, b in segments for c, d in targets)
    total = sum(b - a for a, b in segments) + sum(d - c for c, d in targets) - inside
    return max(0.0, min(1.0, inside / total)) if total > 0 else 0.0


def _scores(samples: list[dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    known = [sample["iou"] for sample in samples if sample["iou"] is not None]
    mean = sum(known) / len(known) if known else None
    at = {t: sum(iou >= float(t) for iou in known) / len(known) if known else None for t in THRESHOLDS}
    if not known:
        return {"official": {"Total": len(samples), "Failed": 3, "Acc": 0.61}, "corrected": {"Acc_letter_decides": 0.6}}
    return {
        "official": {
            "Total": len(samples),
            "Failed": sum(sample["failure"] is not None for sample in samples),
            "m_iou": mean,
            **{f"f1_single_{t}": value for t, value in at.items()},
            "mean_f1_single": sum(at.values()) / 4,
        },
        "corrected": {f"exact_R@{t}": value for t, value in at.items()},
        "field": {
            "mean_iou": mean,
            **{f"recall@1@{t}": value for t, value in at.items() if t != "0.1"},
            **{f"f1@{t}": value for t, value in at.items()},
            "count_accuracy": 0.71,
            "undefined": None,
        },
    }


def _metrics(benchmark: str, samples: list[dict[str, Any]], hostile: bool) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        groups.setdefault(f"{sample['task']}/{sample['source']}", []).append(sample)
    kinds = [sample["failure"] for sample in samples if sample["failure"]]
    bins = [{"label": f"{low}-{low * 2} s", "num": 3 * low, "mean_iou": 0.9 - 0.1 / low} for low in (1, 2, 4, 8, 16)]
    return {
        "benchmark": HOSTILE[0] if hostile else benchmark,
        "rule": "et_bench" if benchmark == "et_bench" else "released_tvg",
        "num_samples": len(samples),
        "num_failed": len(kinds),
        "scores": _scores(samples),
        "groups": {name: {"num_samples": len(found), **_scores(found)} for name, found in groups.items()},
        "headline": [{"section": "official", "name": "mean_f1_single"}, {"section": "official", "name": "m_iou"},
                     {"section": "field", "name": "mean_iou"}],
        "failures": {
            "kinds": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "counts": {"exact": 80, "too_few": 25, "too_many": 15},
            "boundary_error_s": {
                "num_pairs": 101,
                "start": {"mean": 2.5, "median": 1.2, "p90": 6.5},
                "end": {"mean": 3.1, "median": 1.6, "p90": 8.5},
                "histogram": {"edges_s": [0, 0.5, 1, 2, 5, 10, 20, 60], "counts": [40, 30, 35, 50, 20, 12, 8, 7]},
            },
            "iou_by": {
                "segment_length_s": [*bins, {"label": "60+ s", "num": 0, "mean_iou": None}],
                "num_segments": [{"label": str(n), "num": 40 // n, "mean_iou": 0.8 / n} for n in (1, 2, 3, 5)],
                "position": [{"label": f"{n}-{n + 20} %", "num": 24, "mean_iou": 0.6} for n in range(0, 100, 20)],
            },
        },
        "notes": [HOSTILE[2] if hostile else "3 samples had no answer in the file and count as failures."],
    }  # fmt: skip


def _identity(benchmark: str, samples: list[dict[str, Any]], skill: float, hostile: bool) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "rule": "released_tvg",
        "num_samples": len(samples),
        "checkpoint": HOSTILE[1] if hostile else f"exported/museg-{skill:g}",
        "predictions_file": None,
        "annotation": {"file": "data/annotations/charades_sta.json", "sha256": "0f" * 32},
        "versions": {"museg": "0.1.0", "torch": "2.13.0"},
        "timings_s": {"answering": 523.0, "scoring": 2.25},
        "created": "2026-11-20T12:00:00+00:00",
    }
