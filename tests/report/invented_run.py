"""A run folder with invented numbers, as training would write it: test data, no measurement of anything."""

import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from museg.metrics.grounding_scores import grounding_scores
from museg.metrics.keys import columns
from museg.temporal.segments import Segment

HOSTILE = (
    "</script><script>window.owned=1</script>",
    '"><img src=x onerror="window.owned=2">',
    "$\\frac{1}{2$ {{ 7*7 }} {% raw %} ]]> &amp; \x00\x1b \ud800 \u202egnp.exe",
    "</svg></text><style>*{display:none}</style>",
)
TERMS = ("format", "timestamp", "coverage", "local")
PHASES = (("timestamp", 0, 400), ("plain", 400, 900))
DURATION_S = 24.0
CONFIG: Mapping[str, Any] = {
    "name": "invented",
    "seed": 3,
    "prompts_per_step": 14,
    "method": {"_target_": "museg.training.museg_module.MusegModule"},
    "model": {"_target_": "museg.policy.tiny.build_tiny"},
    "dataset": {"_target_": "museg.data.dataset.synthetic_data"},
    "reward": {"terms": dict.fromkeys(TERMS), "weights": {"local": 0.5}},
    "rollout": {"num_generations": 8, "temperature": 0.9},
    "optimizer": {"lr": 1.5e-4},
    "objective": {"beta": 0.04},
    "cold_start": {"target_mean_iou": 0.6},
}


def write_invented_run(run_dir: Path, *, num_examples: int = 24, hostile: bool = False, phases=PHASES) -> Path:
    """Write a finished run with cold start, quarantine and predictions; `hostile` puts attacking texts everywhere."""
    rng = random.Random(0)
    run_dir.mkdir(parents=True, exist_ok=True)
    config = dict(CONFIG) | ({"name": HOSTILE[0]} if hostile else {})
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    held_out = _write_predictions(run_dir / "predictions", phases, num_examples, hostile, rng)
    _write_metrics(run_dir / "metrics.csv", phases, held_out, rng)
    summary = {
        "name": config["name"],
        "seed": 3,
        "held_out": {stage: modes["greedy"] | {"sampled": modes["sampled"]} for stage, modes in held_out.items()},
        "phases": [{"name": name, "start_step": start, "end_step": end} for name, start, end in phases],
        "cold_start": {"steps": 450, "stopped_because": "held-out mean IoU 0.602 reached 0.6"},
        "timings_s": {"prepare": 9.0, "cold_start": 96.0, "training": 540.0, "total": 655.5},
        "versions": {"museg": "0.1.0", "torch": HOSTILE[1] if hostile else "2.13.0"},
    }
    (run_dir / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    _write_completions(run_dir / "completions.jsonl", phases, hostile, rng)
    _write_lines(run_dir / "quarantine.jsonl", [_quarantined(hostile)])
    return run_dir


def _quarantined(hostile: bool) -> dict[str, Any]:
    return {
        "video": HOSTILE[1] if hostile else "videos/cut_short.mp4",
        "example_ids": ["train:17"],
        "reasons": {"decord": "no video stream", "pyav": HOSTILE[3] if hostile else "moov atom not found"},
        "step": 12,
    }


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _targets(rng: random.Random) -> list[Segment]:
    cuts = sorted(rng.sample(range(1, int(DURATION_S)), 2 * rng.randint(1, 3)))
    return [Segment(float(a), float(b)) for a, b in zip(cuts[::2], cuts[1::2], strict=True)]


def _answer(targets: list[Segment], skill: float, rng: random.Random) -> list[Segment]:
    jitter = 6.0 * (1 - skill)
    moved = [(s.start_s + rng.uniform(-jitter, jitter), s.end_s + rng.uniform(-jitter, jitter)) for s in targets]
    kept = [Segment(round(max(0.0, a), 1), round(min(DURATION_S, b), 1)) for a, b in moved if b > a + 0.3]
    return kept if rng.random() < 0.5 + skill / 2 else [*kept, Segment(0.5, 2.0)]


def _write_predictions(folder: Path, phases, num_examples: int, hostile: bool, rng: random.Random) -> dict[str, Any]:
    truths = [_targets(rng) for _ in range(num_examples)]
    held_out: dict[str, Any] = {}
    for index, stage in enumerate(("cold_start", *(name for name, _, _ in phases))):
        rows, held_out[stage] = [], {}
        for mode, skill in (("greedy", 0.72 + 0.07 * index), ("sampled", 0.55 + 0.09 * index)):
            answers = [_answer(truth, skill, rng) for truth in truths]
            scores = [grounding_scores(answer, truth) for answer, truth in zip(answers, truths, strict=True)]
            held_out[stage][mode] = {key: sum(s[key] for s in scores) / len(scores) for key in scores[0]} | {
                "well_formed_share": min(1.0, 0.9 + 0.04 * index),
                "timestamps_cited_share": min(1.0, 0.1 + 0.44 * index),
                "matching_reward": 0.5 + 0.1 * index,
                "completion_tokens": 21.0,
            }
            for place, (truth, answer, score) in enumerate(zip(truths, answers, scores, strict=True)):
                rows.append(_prediction(place, mode, truth, answer, score["mean_iou"], hostile))
        _write_lines(folder / f"{stage}.jsonl", rows)
    return held_out


def _prediction(index: int, mode: str, truth, answer, iou: float, hostile: bool) -> dict[str, Any]:
    unreadable = index % 11 == 5
    spans = " ".join(f"{a}-{b}" for a, b in answer)
    text = f"<think>red square from {spans}</think><answer>{spans}</answer>"
    return {
        "example_id": f"held_out:{index}",
        "video": f"videos/clip_{index:04d}.mp4",
        "query": HOSTILE[index % 4] if hostile else f"Find all times of '{('red', 'green')[index % 2]} square'.",
        "targets": truth,
        "duration_s": DURATION_S,
        "mode": mode,
        "text": HOSTILE[(index + 1) % 4] if hostile else text,
        "segments": None if unreadable else answer,
        "fault": "no_answer" if unreadable else None,
        "iou": 0.0 if unreadable else iou,
    }


def _write_metrics(path: Path, phases, held_out: Mapping[str, Any], rng: random.Random) -> None:
    keys = columns(TERMS)
    last = phases[-1][2]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["step", "phase", "kind", "cold_start_step", *keys], restval="")
        table.writeheader()
        for step in range(50, 451, 50):
            iou = 0.62 / (1 + 2.718 ** (-(step - 260) / 60))
            row = {"step": 0, "phase": "cold_start", "kind": "cold_start", "cold_start_step": step}
            table.writerow(row | {"loss/total": 1 - iou, "held_out/greedy/mean_iou": iou})
        start = {f"held_out/{mode}/{score}": v for mode, s in held_out["cold_start"].items() for score, v in s.items()}
        table.writerow({"step": 0, "phase": "cold_start", "kind": "validation"} | start)
        for name, start, end in phases:
            for step in range(start + 1, end + 1):
                table.writerow({"step": step, "phase": name, "kind": "train"} | _step(step, start, end, last, rng))
                if step % 50 == 0:
                    part = step / last
                    values = {
                        f"held_out/{mode}/{score}": value + 0.1 * part + rng.gauss(0, 0.012)
                        for mode, scores in held_out["cold_start"].items()
                        for score, value in scores.items()
                    }
                    table.writerow({"step": step, "phase": name, "kind": "validation"} | values)


def _step(step: int, start: int, end: int, last: int, rng: random.Random) -> dict[str, float]:
    def rising(low: float, high: float, noise: float) -> float:
        return low + (high - low) * (1 - 2.718 ** (-3 * step / last)) + rng.gauss(0, noise)

    terms = {"format": rising(0.9, 0.99, 0.02), "timestamp": rising(-0.25, -0.05, 0.02)}
    terms |= {"coverage": rising(0.5, 0.7, 0.05), "local": rising(0.55, 0.72, 0.05)}
    return {
        **{f"reward/{term}": value for term, value in terms.items()},
        "reward/total": sum(terms.values()),
        "reward/group_std": rising(0.4, 0.25, 0.02),
        "reward/zero_std_share": rising(0.02, 0.1, 0.02),
        "train/mean_iou": rising(0.45, 0.66, 0.05),
        "train/well_formed_share": rising(0.9, 0.99, 0.02),
        "train/num_predicted_segments": rising(2.4, 2.0, 0.2),
        "train/num_true_segments": rising(2.0, 2.0, 0.2),
        "train/completion_tokens": rising(22.0, 25.0, 0.8),
        "train/truncated_share": 0.0,
        "train/learning_rate": 1.5e-4 * (1 - (step - 1 - start) / (end - start)),
        "loss/total": rising(0.0, 0.01, 0.004),
        "loss/kl": max(0.0, rising(0.0, 0.2, 0.015) - (0.1 if step >= 400 else 0.0)),
        "loss/grad_norm": abs(rising(1.2, 0.8, 0.2)),
        "loss/clip_fraction": 0.0,
        "data/num_prompts": 14,
        "data/num_quarantined": 1,
        "time/step_s": abs(rising(0.6, 0.62, 0.04)),
        "time/rollout_s": abs(rising(0.2, 0.2, 0.02)),
        "time/update_s": abs(rising(0.36, 0.38, 0.02)),
        "time/wait_s": abs(rising(0.01, 0.01, 0.005)),
    }


def _write_completions(path: Path, phases, hostile: bool, rng: random.Random) -> None:
    rows = []
    for name, start, end in phases:
        for step in range(start + 1, end, 50):
            rows += [_completion(step, name, place, hostile, rng) for place in range(16)]
    _write_lines(path, rows)


def _completion(step: int, phase: str, place: int, hostile: bool, rng: random.Random) -> dict[str, Any]:
    truth = _targets(rng)
    spans = " ".join(f"{a}-{b}" for a, b in _answer(truth, 0.8, rng))
    text = f"<think>red square from {spans}</think><answer>{spans}</answer>"
    terms = {term: round(rng.random(), 3) for term in TERMS}
    return {
        "step": step,
        "phase": phase,
        "example_id": f"train:{step + place // 4}",
        "query": HOSTILE[place % 4] if hostile else "When does 'red square' occur?",
        "targets": truth,
        "text": HOSTILE[place % 4] * 40 if hostile else text,
        "reward": round(sum(terms.values()), 3),
        "terms": terms | ({HOSTILE[1]: 1.0} if hostile else {}),
    }
