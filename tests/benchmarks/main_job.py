"""The default main job against its first landed version. `python -m tests.benchmarks.main_job`

- ours: `python train.py` of this repository as its files are now.
- first: the same of the first commit whose default job ran to its end as released, in a worktree of its own.

Both run at the same time, each on one core with one thread, and change cores in the next round
(`tests.benchmarks.side_by_side`); on a one-core machine they take turns. They share the drawn clips, which are there
beforehand; the folders of cold starts and of frames are empty for each run. The slower one runs its last part alone.
Nothing else may run then either: what falls on one of the two only is taken for its speed.
Both train the same seed for as many steps, but not the same weights: what they reach on held-out clips stands in the
rows beside the seconds. Those are what the runs measured themselves:

- main job, whole: supervised start, and all steps and looks at held-out clips, together. Not in it are loading the
  program, the first decoding of held-out clips and checkpoints; `total_s` has the second of them too.
- main job, step: the median step; further the medians of its two long parts.

A pair takes as long as the slower run. `--found FIRST OURS` makes the rows of folders of runs that were made so before.
"""

import json
import statistics
import tempfile
from argparse import Namespace
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from museg.config.job import build_job
from museg.metrics.keys import held_out_key
from tests.benchmarks.measure import benchmark_parser, comparison, write_results
from tests.benchmarks.side_by_side import Command, own_cores, run_round, worktree
from tests.walks import tiny_runs

ROOT = Path(__file__).resolve().parents[2]
FIRST = "78c214e"
"""The first version whose default job ran to its end as released."""
QUICK_STEPS = (2, 4)
"""Of the first phase, and of all."""
WHOLE = ("cold_start_s", "training_s", "total_s", "greedy_mean_iou", "sampled_mean_iou")
PARTS = ("rollout_s", "update_s")
"""What the rows tell of each side besides their measure."""


@dataclass(frozen=True)
class JobRun:
    """What a finished run tells: seconds, those of a step and its parts as medians, and held-out scores at its end."""

    seed: int
    num_steps: int
    cold_start_s: float
    training_s: float
    total_s: float
    step_s: float
    rollout_s: float
    update_s: float
    greedy_mean_iou: float
    sampled_mean_iou: float

    @property
    def whole_s(self) -> float:
        """Supervised start, steps and looks at held-out clips."""
        return self.cold_start_s + self.training_s


Pair = Mapping[str, JobRun]
"""Of "ours" and "first"."""


def read_run(folder: Path) -> JobRun:
    """Read a run folder of any version; SystemExit unless it is that of a finished run."""
    try:
        return _read_finished(folder)
    except (OSError, LookupError, TypeError, ValueError) as fault:
        raise SystemExit(
            f"{folder} is not the folder of a finished run: {fault!r}; give one whose summary.json was written, with "
            "metrics.csv beside it"
        ) from fault


def _read_finished(folder: Path) -> JobRun:
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    rows, num_steps = tiny_runs.rows(folder), summary["phases"][-1]["end_step"]
    steps = [row for row in rows if row["kind"] == "train"]
    [end] = [row for row in rows if (row["kind"], row["step"]) == ("validation", str(num_steps))]
    if [int(row["step"]) for row in steps] != list(range(1, num_steps + 1)):
        raise ValueError(f"metrics.csv has {len(steps)} steps of {num_steps}")
    parts = {f"{name}_s": [float(row[f"time/{name}_s"]) for row in steps] for name in ("step", "rollout", "update")}
    return JobRun(
        seed=summary["seed"],
        num_steps=num_steps,
        **{f"{name}_s": float(summary["timings_s"][name]) for name in ("cold_start", "training", "total")},
        **{name: statistics.median(found) for name, found in parts.items()},
        **{f"{mode}_mean_iou": float(end[held_out_key(mode, "mean_iou")]) for mode in ("greedy", "sampled")},
    )


def check_pair(pair: Pair) -> None:
    """SystemExit unless both trained the same seed for as many steps."""
    jobs = {name: f"seed {run.seed}, {run.num_steps} steps" for name, run in pair.items()}
    if len(set(jobs.values())) > 1:
        raise SystemExit(f"the two runs are not of the same job: {jobs}")


def rows_of(pairs: Sequence[Pair], first_commit: str) -> list[dict[str, Any]]:
    """Two rows for each seed, whose pairs are their rounds."""
    by_shape: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        check_pair(pair)
        by_shape[f"seed {pair['ours'].seed}, {pair['ours'].num_steps} steps"].append(pair)
    return [
        _row(measure, shape, found, attribute, told) | {"first_commit": first_commit}
        for shape, found in by_shape.items()
        for measure, attribute, told in (("main job, whole", "whole_s", WHOLE), ("main job, step", "step_s", PARTS))
    ]


def _row(measure: str, shape: str, pairs: Sequence[Pair], attribute: str, told: Sequence[str]) -> dict[str, Any]:
    def found(name: str, side: str) -> list[float]:
        return [round(getattr(pair[side], name), 4) for pair in pairs]

    values = {f"{side}, {name}": statistics.median(found(name, side)) for name in told for side in pairs[0]}
    wall_s = {side: found(attribute, side) for side in pairs[0]}
    return comparison(measure, shape, ours="ours", seconds={"wall_s": wall_s}, values=values)


def measured(
    trees: Mapping[str, Path], folder: Path, seeds: Sequence[int], num_runs: int, overrides: Sequence[str]
) -> Iterator[Pair]:
    """Run the program of all `trees`, round by round; everything that a run writes comes into `folder`."""
    rounds = [(seed, f"{seed}_{run}") for run in range(num_runs) for seed in seeds]
    for turn, (seed, name) in enumerate(rounds):
        run_dirs = {side: folder / f"{side}_{name}" for side in trees}
        commands = {
            side: Command(tree, command_of(tree, run_dirs[side], seed, overrides), run_dirs[side].with_suffix(".log"))
            for side, tree in trees.items()
        }
        run_round(commands, own_cores(), turn)
        yield {side: read_run(run_dir) for side, run_dir in run_dirs.items()}


def command_of(tree: Path, run_dir: Path, seed: int, overrides: Sequence[str]) -> list[str]:
    """What to run; an option that this version does not have yet is not given."""
    kept = {"cold_start.cache_dir": "cold_start", "video.frame_cache_dir": "frames"}
    if "frame_cache_dir" not in yaml.safe_load((tree / "conf/video/tiny.yaml").read_text("utf-8")):
        del kept["video.frame_cache_dir"]
    own = [f"{option}={run_dir}_{name}" for option, name in kept.items()]
    return ["train.py", f"seed={seed}", f"hydra.run.dir={run_dir}", *own, *overrides]


def overrides_of(options: Namespace, clips: Path) -> list[str]:
    """The same for both: the clips, and what makes the job a shorter one."""
    steps = options.steps or (QUICK_STEPS if options.quick else None)
    lengths = [f"phase.steps={steps[0]}", f"phase.total_steps={steps[1]}"] if steps else []
    return [f"dataset.root={clips}", *lengths, *((*tiny_runs.SMALL, *tiny_runs.CLIPS) if options.quick else ())]


def pairs_of(options: Namespace) -> Iterator[Pair]:
    """Those that the command line names, or new ones."""
    if options.found:
        yield from ({"ours": read_run(ours), "first": read_run(first)} for first, ours in options.found)
        return
    with tempfile.TemporaryDirectory() as name, worktree(ROOT, options.first, Path(name) / "first_version") as first:
        overrides = overrides_of(options, Path(name) / "clips")
        build_job(tiny_runs.checked(*overrides)).make_data()
        yield from measured({"ours": ROOT, "first": first}, Path(name), options.seeds, options.runs, overrides)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure or read, print; what is done is written after each pair."""
    parser = benchmark_parser(__doc__, num_runs=1)
    parser.add_argument("--first", default=FIRST, metavar="COMMIT", help=f"the version to compare with ({FIRST})")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--steps", nargs=2, type=int, metavar=("PHASE", "TOTAL"), help="a shorter job")
    parser.add_argument("--found", nargs=2, type=Path, action="append", metavar=("FIRST_RUN_DIR", "OUR_RUN_DIR"))
    options = parser.parse_args(arguments)
    pairs: list[Pair] = []
    rows: list[dict[str, Any]] = []
    for pair in pairs_of(options):
        pairs.append(pair)
        rows = rows_of(pairs, options.first)
        if options.out or not options.quick:
            print(f"written to {write_results('main_job', rows, options.out)}", flush=True)
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
