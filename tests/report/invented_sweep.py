"""A sweep's folder with invented numbers, as Hydra and training leave it: test data, no measurement of anything."""

import csv
import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from museg.metrics.keys import HELD_OUT_SCORES, MODES, columns, held_out_key

NOW_S = 1_900_000_000.0
"""The time at which these folders are read; files are written an hour before."""
REWARDS = {
    "sequential": {"coverage": "coverage.CoverageReward", "local": "sequential.SequentialMatchingReward"},
    "maximum": {"coverage": "coverage.CoverageReward", "local": "maximum.MaximumMatchingReward"},
    "global_only": {"coverage": "coverage.CoverageReward"},
    "local_only": {"local": "sequential.SequentialMatchingReward"},
}
SEEDS = (0, 1, 2)
START = {0: 0.61, 1: 0.64, 2: 0.60}
"""Greedy mean IoU after the cold start of each seed."""


def member_config(seed: int, reward: str = "sequential", steps: int = 80, total_steps: int = 180) -> dict[str, Any]:
    """What of a resolved configuration matters here."""
    return {
        "name": "invented",
        "seed": seed,
        "reward": {
            "_target_": "museg.rewards.mix.RewardMix",
            "terms": {name: {"_target_": f"museg.rewards.{target}"} for name, target in REWARDS[reward].items()},
            "weights": {},
        },
        "phase": {
            "steps": steps,
            "total_steps": total_steps,
            "phases": {"timestamp": {"num_steps": steps, "prompt": "timestamp"}, "plain": {"num_steps": None}},
        },
        "logger": {"wandb": {"name": f"{reward}-{seed}"}},
    }


def write_member(
    folder: Path, config: Mapping[str, Any], gain: float, *, steps_done: int | None = None, age_s: float = 3600
) -> Path:
    """A member that ended with `gain` more than it started with; with `steps_done` it is unfinished there.

    Its files were last written `age_s` seconds before `NOW_S`.
    """
    folder.mkdir(parents=True)
    phase, seed = config["phase"], int(config["seed"])
    total, boundary = phase["total_steps"], phase["steps"]
    spans = [("timestamp", 0, boundary), ("plain", boundary, total)]
    spans = [span for span in spans if span[2] > span[1]]
    rng = random.Random(f"{seed} {gain}")
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
    end = total if steps_done is None else steps_done
    _write_metrics(folder / "metrics.csv", spans, end, START[seed % 3], gain, rng)
    if steps_done is None:
        stages = [("cold_start", 0.0), *((name, gain * stop / total) for name, _, stop in spans)]
        held_out = {
            stage: _scores(START[seed % 3] + won) | {"sampled": _scores(START[seed % 3] - 0.12 + 1.4 * won)}
            for stage, won in stages
        }
        phases = [{"name": name, "start_step": start, "end_step": stop} for name, start, stop in spans]
        (folder / "summary.json").write_text(json.dumps({"held_out": held_out, "phases": phases}), encoding="utf-8")
        (folder / "report.html").write_text("<p>its own report</p>", encoding="utf-8")
    for file in folder.iterdir():
        os.utime(file, (NOW_S - age_s, NOW_S - age_s))
    return folder


def _scores(level: float) -> dict[str, float]:
    return {name: round(min(1.0, level * (0.8 + 0.02 * place)), 9) for place, name in enumerate(HELD_OUT_SCORES)} | {
        "mean_iou": level
    }


def _write_metrics(path: Path, spans, end: int, start: float, gain: float, rng: random.Random) -> None:
    keys = columns(["format", "timestamp", "coverage", "local"])
    total = spans[-1][2]
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["step", "phase", "kind", "cold_start_step", *keys], restval="")
        table.writeheader()
        for step in range(end + 1):
            phase = next((name for name, first, last in spans if first < step <= last), "cold_start")
            won = gain * step / total
            if step:
                noisy = start - 0.1 + 1.2 * won + rng.gauss(0, 0.04)
                row = {"train/mean_iou": noisy, "reward/total": 3 * noisy, "loss/kl": abs(won + rng.gauss(0, 0.01))}
                row |= {"time/step_s": 0.3}
                table.writerow({"step": step, "phase": phase, "kind": "train"} | row)
            if step % 60 == 0:
                levels = {"greedy": start + won, "sampled": start - 0.12 + 1.4 * won}
                row = {
                    held_out_key(mode, name): value for mode in MODES for name, value in _scores(levels[mode]).items()
                }
                table.writerow({"step": step, "phase": phase, "kind": "validation"} | row)


def write_plan(folder: Path, members: Sequence[Mapping[str, Any]]) -> None:
    """The plan of a sweep as it starts."""
    folder.mkdir(parents=True, exist_ok=True)
    text = [{key: str(value) for key, value in member.items()} for member in members]
    (folder / "sweep.json").write_text(json.dumps({"members": text}), encoding="utf-8")


GAINS = {"sequential": 0.10, "maximum": 0.12, "global_only": 0.07, "local_only": 0.10}


def write_invented_sweep(folder: Path, *, num_members: int = 12) -> Path:
    """Four rewards with three seeds each; of the planned twelve the first `num_members` exist, all finished."""
    planned = [{"reward": reward, "seed": seed} for reward in REWARDS for seed in SEEDS]
    write_plan(folder, planned)
    for number, member in enumerate(planned[:num_members]):
        reward, seed = member["reward"], member["seed"]
        noise = random.Random(f"{reward} {seed}").gauss(0, 0.01)
        name = f"{number}_reward-{reward}_seed-{seed}"
        write_member(folder / name, member_config(seed, reward), GAINS[reward] + noise)
    return folder
