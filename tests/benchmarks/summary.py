"""What all benchmarks found, as Markdown tables. `python -m tests.benchmarks.summary`

Reads the files in `tests/benchmarks/results` (or those given) that have the layout of `tests.benchmarks.measure`, and
prints a table for each machine: what others take as a multiple of ours, by median run, with the lowest and highest of
all rounds; the same for peak memory; and other values that the project has a goal for. A number that misses its goal is
marked. The grid of log-probabilities is left out: it is drawn.
"""

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import RESULTS

LEFT_OUT = ("log_probs_grid",)
HEADER = ("measure", "shape", "what", "goal", "found", "lowest to highest")


@dataclass(frozen=True)
class Goal:
    """A bound on one number: `kind` is "ratio", "memory_ratio", "peak_mib" or "values", `name` a side or a value.

    `bounds` go by shape; "" is for all others. Empty `measure`: any.
    """

    benchmark: str
    kind: str
    name: str
    bounds: Mapping[str, float]
    measure: str = ""
    is_least: bool = True

    def bound_for(self, benchmark: str, row: Mapping[str, Any], kind: str, name: str) -> float | None:
        """The bound on this number, where this goal has one."""
        is_meant = (self.benchmark, self.kind, self.name) == (benchmark, kind, name)
        if not is_meant or self.measure not in ("", row["measure"]):
            return None
        return self.bounds.get(row["shape"], self.bounds.get(""))

    def says(self, bound: float) -> str:
        """For people."""
        return f"{'>=' if self.is_least else '<='} {bound:g}"


def _least(benchmark: str, kind: str, name: str, short: float, long: float) -> Goal:
    return Goal(benchmark, kind, name, {"1024x128x8": short, "2048x128x8": long})


GOALS = (
    _least("log_probs", "ratio", "released", 6.5, 8),
    _least("log_probs", "memory_ratio", "released", 6, 8),
    Goal("rollout", "ratio", "generate", {"2048x128x8": 6}),
    _least("step", "ratio", "trl", 5, 7),
    _least("step", "ratio", "trl_compact", 3, 4.5),
    Goal("main_job", "ratio", "first", {"": 1.5}),
    Goal("log_probs_vocabulary", "peak_mib", "head", {"": 350}, is_least=False),
    # 3 MiB for what the allocator keeps: peaks of the same work differed by 0.4. From 64 to 512 tokens hidden
    # states grow by 3.5 MiB, so one more copy of them is noticed; logits of all tokens would be 2 GiB.
    Goal("log_probs_vocabulary", "values", "growth_beyond_hidden_mib", {"": 3}, is_least=False),
    Goal("video", "values", "cold, share", {"": 0.05}, is_least=False),
    Goal("video", "values", "warm, share", {"": 0.005}, is_least=False),
    Goal("parts", "values", "ms", {"": 5}, "reading and rewards", is_least=False),
    *(Goal(f"gpu {size}", "values", "mfu", {"": 0.45}, "update of a prompt") for size in ("3b", "7b")),
    *(
        Goal(f"gpu {size}", "values", "floor_share", {"": 0.5}, "rollouts of 14 prompts, the rest")
        for size in ("3b", "7b")
    ),
    Goal("gpu 7b", "values", "floor_share", {"": 0.5}, "step"),
)


@dataclass
class Tables:
    """Lines by machine."""

    lines: dict[str, list[tuple[str, ...]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, results: Mapping[str, Any]) -> None:
        """The lines of one file of results."""
        facts = results["machine"]
        machine = f"{facts['processor']}, {facts['num_cores']} cores, {facts['num_threads']} threads"
        for row in results["rows"]:
            self.lines[machine] += lines_of(results["benchmark"], row)

    def markdown(self) -> str:
        """All tables."""
        return "\n\n".join(f"{machine}:\n\n{_table(lines)}" for machine, lines in self.lines.items())


def lines_of(benchmark: str, row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """A line for every ratio, and for every other number with a goal."""
    for kind, name, number in _numbers(row):
        goal, bound = _goal_for(benchmark, row, kind, name)
        if goal is None and not kind.endswith("ratio"):
            continue
        is_missed = goal is not None and (number < bound if goal.is_least else number > bound)
        spread = row["spread"][name] if kind == "ratio" else ()
        yield (
            row["measure"],
            row["shape"],
            {"ratio": f"time, {name}", "memory_ratio": f"memory, {name}", "peak_mib": f"MiB, {name}"}.get(kind, name),
            goal.says(bound) if goal else "",
            f"{_shown(number, kind)}{' (missed)' if is_missed else ''}",
            " to ".join(_shown(end, kind) for end in spread),
        )


def _numbers(row: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """(kind, side or value, number) of a row; what ours takes as a multiple of ours is no news."""
    sides = row.get("sides", {}).items()
    if "ratio" in row:  # not those of the file, which are rounded
        middle = {name: statistics.median(side["seconds"]) for name, side in sides if "seconds" in side}
        yield from (("ratio", name, s / middle[row["ours"]]) for name, s in middle.items() if name != row["ours"])
    multiples = row.get("memory_ratio", {}).items()
    yield from (("memory_ratio", name, number) for name, number in multiples if name != row["ours"])
    yield from (("peak_mib", name, side["peak_mib"]) for name, side in sides if "peak_mib" in side)
    yield from (("values", name, number) for name, number in row.get("values", {}).items())


def _goal_for(benchmark: str, row: Mapping[str, Any], kind: str, name: str) -> tuple[Goal | None, float]:
    for goal in GOALS:
        if (bound := goal.bound_for(benchmark, row, kind, name)) is not None:
            return goal, bound
    return None, 0.0


def _shown(number: float, kind: str) -> str:
    return f"{number:.2f}x" if kind.endswith("ratio") else f"{number:.3g}"


def _table(lines: Sequence[tuple[str, ...]]) -> str:
    rows = (HEADER, ("---",) * len(HEADER), *lines)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="JSON files (default: all in tests/benchmarks/results)")
    tables = Tables()
    for file in parser.parse_args(arguments).files or sorted(RESULTS.glob("*.json")):
        results = json.loads(file.read_text("utf-8"))
        if "rows" in results and results["benchmark"] not in LEFT_OUT:
            tables.add(results)
    print(tables.markdown())


if __name__ == "__main__":
    main()
