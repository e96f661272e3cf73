"""Where the time of a step goes: a table of its parts, and a trace of a few steps.

`with parts("rewards"):` gives the time inside to the part of that name. Parts may stand inside each other: the clock
belongs to the innermost one, and what no part claims is `EVERYTHING_ELSE`, so the parts of a step add up to it. Where
nothing is profiled `contextlib.nullcontext` stands in the place of `parts`, and does nothing.

Profiling draws no random number and changes no other. On a GPU it waits at every border of a part until the device is
done, or the time would go to whatever part happens to wait; a profiled run is slower there by what it can no longer do
at the same time. (That has not run on a GPU.)
"""

import csv
import io
import json
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.profiler import profile, record_function

from museg.files import write_whole

EVERYTHING_ELSE = "everything else"
WHOLE_STEP = "whole step"
WARM_UP_STEPS = 2
"""First steps of a run, in which memory is claimed and kernels are chosen; they count for nothing."""
TRACED_STEPS = 2
"""Steps after them, which go into the trace and not into the table: tracing slows them down."""
CSV_FILE, JSON_FILE, TRACE_FILE = "profile.csv", "profile.json", "trace.json"

PartClock = Callable[[str], AbstractContextManager]
"""`Parts`, or `nullcontext`."""


@dataclass
class StepTimes:
    """Seconds and number of calls by part in one step."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[str] = field(default_factory=Counter)


class Parts:
    """Measures the parts of steps, from `begin` on, each until its `end_step`; `close` ends a trace under way."""

    def __init__(self, trace_file: Path) -> None:
        self.trace_file = trace_file
        self.steps: list[StepTimes] = []
        """The steps that count: neither warm-up nor traced."""
        self.num_ended = 0
        self._open = [EVERYTHING_ELSE]
        self._tracer: profile | None = None
        self.begin()

    def begin(self) -> None:
        """Start the clock of a step."""
        self._times, self._since = StepTimes(), time.perf_counter()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Give the time inside to the part `name`."""
        self._give_time()
        self._open.append(name)
        self._times.calls[name] += 1
        try:
            with record_function(name) if self._tracer else nullcontext():
                yield
        finally:
            self._give_time()
            self._open.pop()

    def end_step(self) -> None:
        """Close the step and start the clock of the next one."""
        self._give_time()
        if self.num_ended >= WARM_UP_STEPS + TRACED_STEPS:
            self.steps.append(self._times)
        self.num_ended += 1
        if self.num_ended == WARM_UP_STEPS:
            self._tracer = profile()
            self._tracer.start()
        elif self.num_ended == WARM_UP_STEPS + TRACED_STEPS:
            self.close()
        self.begin()

    def close(self) -> None:
        """Write the trace of the steps traced so far, if one is under way."""
        if self._tracer is not None:
            self._tracer.stop()
            self._tracer.export_chrome_trace(str(self.trace_file))
            self._tracer = None

    def _give_time(self) -> None:
        """Give the time since the last border to the part that is open."""
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self._times.seconds[self._open[-1]] += now - self._since
        self._since = now


@contextmanager
def profiled(run_dir: Path, *, is_wanted: bool) -> Iterator[Parts | None]:
    """Measure the fits inside; at their end, however they end, write the profile of the run and print its table."""
    if not is_wanted:
        yield None
        return
    parts = Parts(run_dir / TRACE_FILE)
    try:
        yield parts
    finally:
        print(write_profile(run_dir, parts))


def part_table(steps: Sequence[StepTimes]) -> list[dict[str, Any]]:
    """The parts, longest first, and the whole step. Empty without steps.

    mean_ms: over all steps; median_ms: over those that have the part; share: of the time of all steps; calls: mean per
    step.
    """
    if not steps:
        return []
    whole = [sum(step.seconds.values()) for step in steps]
    rows = [_row(WHOLE_STEP, whole, sum(whole), len(steps), len(steps))]
    for name in {name: None for step in steps for name in step.seconds}:
        seconds = [step.seconds[name] for step in steps if name in step.seconds]
        calls = sum(step.calls[name] for step in steps)
        rows.append(_row(name, seconds, sum(whole), len(steps), calls))
    return sorted(rows, key=lambda row: -row["share"])


def _row(name: str, seconds: Sequence[float], whole_s: float, num_steps: int, num_calls: int) -> dict[str, Any]:
    return {
        "part": name,
        "mean_ms": round(1e3 * sum(seconds) / num_steps, 3),
        "median_ms": round(1e3 * statistics.median(seconds), 3),
        "share": round(sum(seconds) / whole_s, 4),
        "calls": round(num_calls / num_steps, 2),
    }


def write_profile(run_dir: Path, parts: Parts) -> str:
    """Write the table of a run as CSV and JSON, and its trace; returns the table as text for the terminal."""
    parts.close()
    rows = part_table(parts.steps)
    if not rows:
        needed = WARM_UP_STEPS + TRACED_STEPS + 1
        return f"profile: {parts.num_ended} steps are too few for a table of parts, which needs {needed}"
    facts = {"num_steps": len(parts.steps), "num_threads": torch.get_num_threads(), "parts": rows}
    write_whole(run_dir / JSON_FILE, json.dumps(facts, indent=2) + "\n")
    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(run_dir / CSV_FILE, sheet.getvalue())
    return as_text(rows, len(parts.steps))


def as_text(rows: Sequence[Mapping[str, Any]], num_steps: int) -> str:
    """The table in lines of at most 80 characters."""
    lines = [f"{f'profile of {num_steps} steps':28}{'mean ms':>11}{'median ms':>11}{'share':>9}{'calls':>9}"]
    lines += [
        f"{row['part'][:27]:28}{row['mean_ms']:11.1f}{row['median_ms']:11.1f}{row['share']:9.1%}{row['calls']:9.2f}"
        for row in rows
    ]
    return "\n".join(lines)
