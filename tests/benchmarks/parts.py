"""What a step costs besides the model: reading, rewards, logs, checkpoints. `python -m tests.benchmarks.parts`

Three tables.

- One part at a time, on the texts of a step of 14 prompts x 8: once demonstrations of about 300 tokens with times of
  two decimals, as the released model writes them, once those of the tiny model. Goal: reading and rewards of the 112
  texts together below 5 ms on one core.
- All parts of the default job's steps, as `profile=true` measures them: the real program with its caches of clips and
  cold start, if those are there, which it makes otherwise. Mean over all steps, median over those that have the part;
  checkpoints and looks at held-out clips are more frequent than in the job, so that there are some.
- What checkpoints take from training, one every 50 steps (`checkpoint.every_steps`): those of the default job as
  measured, and those of the published sizes (float32 weights and the two moments of AdamW, 12 bytes a weight) on a disk
  of `--disk-mib-s` beside steps of `--step-s` seconds.

Times of the first table are medians of rounds over all parts; the texts must first earn their full reward. Use
OMP_NUM_THREADS=1.
"""

import itertools
import json
import os
import random
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from museg.config.job import build_job
from museg.data.examples import GroundingExample
from museg.dialogue.demonstrations import demonstration
from museg.dialogue.responses import read_strict
from museg.metrics.keys import TRAIN_KEYS, columns
from museg.objectives.advantages import group_advantages
from museg.policy.rollout import Rollouts
from museg.policy.sizes import PUBLISHED_SIZES, meta_model
from museg.rewards.mix import RewardMix
from museg.targets import build
from museg.temporal.segments import Segment
from museg.training import run
from museg.training.mirrors import Dashboard
from museg.training.profile import JSON_FILE
from museg.training.rollout_metrics import completion_records, describe
from museg.training.run_log import LogRow, RunLog
from tests.benchmarks.measure import MIB, benchmark_parser, comparison, interleaved, medians, write_results
from tests.walks import tiny_runs

NUM_PROMPTS, NUM_GENERATIONS = 14, 8
REPEATS = 10
"""A part is so short that each measured round does it this often."""
WORDS = (
    "the",
    "man",
    "then",
    "walks",
    "over",
    "to",
    "a",
    "table",
    "and",
    "picks",
    "up",
    "red",
    "cup",
    "while",
    "slowly",
)
NUM_WORDS = {"released": 260, "tiny": 0}
"""Words of the reasoning besides the cited times; with them a released answer has about 1,300 characters."""
BYTES_PER_WEIGHT = 12
GOAL_MS = 5.0

Parts = dict[str, Callable[[], object]]


def made_examples(chance: random.Random) -> list[GroundingExample]:
    """Questions with one to six segments, times of two decimals in a video of three minutes."""
    examples = []
    for index in range(NUM_PROMPTS):
        borders = sorted(chance.sample(range(18_000), 2 * chance.randint(1, 6)))
        targets = tuple(Segment(a / 100, b / 100) for a, b in zip(borders[::2], borders[1::2], strict=True))
        query = "When does 'a man pick up a cup' occur in the video?"
        examples.append(GroundingExample(f"made:{index}", f"{index}.mp4", query, targets, 180.0, "tal", "made"))
    return examples


def made_text(example: GroundingExample, num_words: int, chance: random.Random) -> str:
    """A right answer whose reasoning cites its times, between so many words."""
    text = demonstration(example.query, example.targets, cites_times=True, decimals=2)
    return text.replace("<think>", f"<think>{' '.join(chance.choices(WORDS, k=num_words))} ", 1)


def made_rollouts(texts: list[str], chance: torch.Generator) -> Rollouts:
    """The same texts as rollouts of a quarter as many tokens as characters, ids drawn at random."""
    lengths = torch.tensor([len(text) // 4 for text in texts])
    ids = torch.randint(0, 1000, (len(texts), int(lengths.max())), generator=chance)
    mask = torch.arange(ids.shape[1]) < lengths[:, None]
    group_of = torch.arange(NUM_PROMPTS).repeat_interleave(NUM_GENERATIONS)
    return Rollouts(ids, mask, texts, group_of, torch.zeros(ids.shape))


def parts_of_step(style: str, mix: RewardMix, dashboards: Mapping[str, Dashboard], log: RunLog) -> Parts:
    """The parts of a step that need no model, by name, ready to be called."""
    chance = random.Random(0)
    examples = made_examples(chance)
    asked = [example for example in examples for _ in range(NUM_GENERATIONS)]
    texts = [made_text(example, NUM_WORDS[style], chance) for example in asked]
    rollouts = made_rollouts(texts, torch.Generator().manual_seed(0))

    def read() -> list:
        return [read_strict(text) for text in texts]

    def reward(responses: list) -> list:
        return [mix.score(response, example.targets) for response, example in zip(responses, asked, strict=True)]

    responses = read()
    scores = reward(responses)
    check(scores)
    totals = torch.tensor([score.total for score in scores]).view(NUM_PROMPTS, NUM_GENERATIONS)
    row = dict.fromkeys(TRAIN_KEYS, 0.123456789) | {f"reward/{name}": 1.0 for name in mix.terms}
    numbers = itertools.count(len(log.rows()))

    def show(dashboard: Dashboard) -> None:
        dashboard.add(next(numbers), LogRow(1, "timestamp", "train", row))

    return {
        "reading": read,
        "rewards": partial(reward, responses),
        "reading and rewards": lambda: reward(read()),
        "advantages": partial(group_advantages, totals),
        "describing": partial(describe, examples, rollouts, responses, scores, [1, 2]),
        "completions to JSON lines": lambda: log.add_completions(
            completion_records(1, "timestamp", examples, rollouts, scores)
        ),
        "logging csv": partial(log.add, 1, "timestamp", "train", row),
        **{f"logging {name}": partial(show, dashboard) for name, dashboard in dashboards.items()},
    }


def check(scores: Sequence[Any]) -> None:
    """SystemExit unless every text is read in full: form, coverage and local matching 1 each, nothing charged."""
    for place, score in enumerate(scores):
        if not score.total > 2.99:
            raise SystemExit(f"text {place} earns {score.total} instead of 3: {dict(score.terms)}")


def repeated(part: Callable[[], object]) -> None:
    """The part, `REPEATS` times."""
    for _ in range(REPEATS):
        part()


def part_rows(folder: Path, logger_names: Sequence[str], num_runs: int) -> list[dict[str, Any]]:
    """Milliseconds of every part on both styles of texts."""
    offline = ("logger.wandb.offline=true",) if "wandb" in logger_names else ()
    settings = tiny_runs.checked(f"logger=[{','.join(logger_names)}]", *offline)
    mix, rows = build(settings["reward"]), []
    made = build_job(settings).make_dashboards(folder)
    try:
        log, dashboards = RunLog(folder, columns(mix.term_names)), dict(zip(logger_names, made, strict=True))
        for style in NUM_WORDS:
            parts = parts_of_step(style, mix, dashboards, log)
            sides = {name: partial(repeated, part) for name, part in parts.items()}
            found = medians(interleaved(sides, num_runs))
            for name in parts:
                clocks = {"ms": found["wall_s"][name], "processor_ms": found["processor_s"][name]}
                values = {unit: round(1e3 * seconds / REPEATS, 3) for unit, seconds in clocks.items()}
                values |= {"goal_ms": GOAL_MS} if name == "reading and rewards" else {}
                shape = f"{NUM_PROMPTS}x{NUM_GENERATIONS} {style} texts"
                rows.append(comparison(name, shape, ours="ours", values=values))
    finally:
        for dashboard in made:
            dashboard.close(has_failed=False)
    return rows


def step_rows(folder: Path, *overrides: str) -> list[dict[str, Any]]:
    """The profile of a run with these overrides, part by part."""
    settings = tiny_runs.checked("profile=true", *overrides)
    run.train(build_job(settings), folder)
    found = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    shape = f"{settings['prompts_per_step']}x{settings['rollout']['num_generations']} default job"
    rows = []
    for part in found["parts"]:
        values = {key: part[key] for key in ("mean_ms", "median_ms", "share", "calls")}
        rows.append(comparison(f"step: {part['part']}", shape, ours="ours", values=values))
    return rows


def measured_checkpoint(steps: Sequence[Mapping[str, Any]], every_steps: int) -> dict[str, Any]:
    """What a checkpoint of the profiled run takes from training, from the rows of `step_rows`."""
    median_s = {row["measure"]: row["values"]["median_ms"] / 1e3 for row in steps}
    values = share_of(median_s["step: checkpoint"], every_steps, median_s["step: whole step"])
    return comparison("checkpoint", "default job", ours="ours", values=values)


def checkpoint_rows(every_steps: int, step_s: float, disk_mib_s: float) -> list[dict[str, Any]]:
    """Bytes of a checkpoint of the published sizes, and the share of all time that writing them takes."""
    rows = []
    for name in PUBLISHED_SIZES:
        size_mib = BYTES_PER_WEIGHT * sum(p.numel() for p in meta_model(name).parameters()) / MIB
        values = {"gib": round(size_mib / 1024, 1), "disk_mib_s": disk_mib_s}
        values |= share_of(size_mib / disk_mib_s, every_steps, step_s)
        rows.append(comparison("checkpoint", name.rpartition("/")[2], ours="ours", values=values))
    return rows


def share_of(write_s: float, every_steps: int, step_s: float) -> dict[str, float]:
    """The share of all time that goes into writing one checkpoint every so many steps, and what it comes from."""
    share = write_s / (write_s + every_steps * step_s)
    return {"write_s": round(write_s, 3), "every_steps": every_steps, "step_s": step_s, "share": round(share, 4)}


def measured(options: Namespace, folder: Path) -> list[dict[str, Any]]:
    """All rows, each printed as soon as it is known."""
    rows: list[dict[str, Any]] = []

    def add(found: list[dict[str, Any]]) -> None:
        rows.extend(found)
        for row in found:
            print(json.dumps(row), flush=True)

    loggers = ["tensorboard"] if options.quick else ["tensorboard", "wandb"]
    add(part_rows(folder / "logs", loggers, options.runs))
    lengths = [f"phase.steps={options.steps // 2}", f"phase.total_steps={options.steps}"]
    often = ["checkpoint.every_steps=10", "validation.every_steps=20"]
    small = [*tiny_runs.small_overrides(folder), "cold_start=none", "rollout.max_new_tokens=8"]
    steps = step_rows(folder / "run", *lengths, *often, *(small if options.quick else []))
    add(steps)
    every_steps = tiny_runs.checked()["checkpoint"]["every_steps"]
    add([measured_checkpoint(steps, every_steps), *checkpoint_rows(every_steps, options.step_s, options.disk_mib_s)])
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = benchmark_parser(__doc__, num_runs=20)
    parser.add_argument("--steps", type=int, default=60, help="steps of the default job")
    parser.add_argument("--disk-mib-s", type=float, default=1000.0, help="MiB that the disk writes in a second")
    parser.add_argument("--step-s", type=float, default=30.0, help="seconds of a step beside which checkpoints are put")
    options = parser.parse_args(arguments)
    os.environ.setdefault("WANDB_SILENT", "true")
    if options.quick:
        options.runs, options.steps = 1, 8
    with tempfile.TemporaryDirectory() as folder:
        rows = measured(options, Path(folder))
    if options.out or not options.quick:
        print(f"written to {write_results('parts', rows, options.out)}")


if __name__ == "__main__":
    main()
