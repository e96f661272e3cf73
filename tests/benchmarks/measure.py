"""What the benchmarks of speed share: the model, shapes, clocks, peak memory, and one layout for what was found.

A benchmark has sides, which do the same work in different ways; one of them is ours. It measures them in turns
within one process, and says how many times ours the others take. Results of a benchmark are one JSON file:

    {"benchmark": "step", "machine": {...}, "rows": [row, ...]}

and a row is one measure at one shape (`comparison` makes them; `python -m tests.benchmarks.summary` prints them):

    {"measure": "whole step", "shape": "1024x128x8", "ours": "ours",
     "sides": {side: {"seconds": [...], "processor_seconds": [...], "peak_mib": x}},
     "ratio": {side: x}, "spread": {side: [lowest, highest]}, "memory_ratio": {side: x},
     "values": {"name with its unit": number}, "left_out": {side: reason}}

Every row has measure and shape; of the rest what was measured. Ratios are those of median seconds to our median;
their spread is over the rounds, in which every side ran once.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from museg.evaluation.run_folder import code_version
from museg.files import write_whole

RESULTS = Path(__file__).resolve().parent / "results"
CLOCKS = {"wall_s": time.perf_counter, "processor_s": time.process_time}
"""The second does not run while other programs have the core; with several threads it runs for each of them."""
SECONDS = {"wall_s": "seconds", "processor_s": "processor_seconds"}
"""Clock -> its name in a row."""
SIZES = {
    "hidden_size": 256,
    "num_layers": 6,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 704,
    "vocab_size": 20_000,
    "vision_hidden_size": 128,
    "vision_depth": 6,
}
"""The model that all benchmarks measure, for `tests.policy.sized_policy.sized_policy`."""
MIB = 2**20

Side = Callable[[], object]
Result = TypeVar("Result")
Seconds = dict[str, dict[str, list[float]]]
"""Clock -> side -> one number a round."""


@dataclass(frozen=True, order=True)
class Shape:
    """Prompt tokens P, tokens of every completion C, completions of a prompt G."""

    prompt: int
    completion: int
    generations: int

    @classmethod
    def read(cls, text: str) -> "Shape":
        """From "1024x128x8"."""
        return cls(*map(int, text.split("x")))

    def __str__(self) -> str:
        return f"{self.prompt}x{self.completion}x{self.generations}"


def machine() -> dict[str, Any]:
    """The processor and the versions that the seconds belong to."""
    file = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.*)", file.read_text()) if file.exists() else None
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "num_cores": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "code": code_version(),
    }


def interleaved(sides: Mapping[str, Side], num_runs: int, *, is_warm: bool = False) -> Seconds:
    """Seconds of `num_runs` rounds over all sides, after one round that nobody measures unless all have run already."""
    for side in () if is_warm else sides.values():
        side()
    found: Seconds = {clock: {name: [] for name in sides} for clock in CLOCKS}
    for _ in range(num_runs):
        for name, side in sides.items():
            starts_s = [read() for read in CLOCKS.values()]
            side()
            for (clock, read), start_s in zip(CLOCKS.items(), starts_s, strict=True):
                found[clock][name].append(round(read() - start_s, 4))
    return found


def medians(found: Seconds) -> dict[str, dict[str, float]]:
    """Clock -> side -> median seconds."""
    return {clock: {name: statistics.median(runs) for name, runs in sides.items()} for clock, sides in found.items()}


def comparison(
    measure: str,
    shape: object,
    *,
    ours: str,
    seconds: Seconds | None = None,
    peaks_mib: Mapping[str, float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A row of the results. `more` goes in as it is (`values`, `left_out`)."""
    row: dict[str, Any] = {"measure": measure, "shape": str(shape), "ours": ours, "sides": {}}
    if seconds:
        for clock, sides in seconds.items():
            for name, found in sides.items():
                row["sides"].setdefault(name, {})[SECONDS[clock]] = found
        runs, middle = seconds["wall_s"], medians(seconds)["wall_s"]
        rounds = {name: [s / own for s, own in zip(found, runs[ours], strict=True)] for name, found in runs.items()}
        row["ratio"] = {name: round(found / middle[ours], 2) for name, found in middle.items()}
        row["spread"] = {name: [round(min(found), 2), round(max(found), 2)] for name, found in rounds.items()}
    if peaks_mib:
        for name, found in peaks_mib.items():
            row["sides"].setdefault(name, {})["peak_mib"] = found
        row["memory_ratio"] = {name: round(found / peaks_mib[ours], 2) for name, found in peaks_mib.items()}
    return row | more


def in_new_process(function: Callable[..., Result], *args: Any) -> Result:
    """What `function(*args)` returns or raises in a fresh process, with as many threads as this one.

    Both travel to that process, so they must be importable and plain. What it allocates is the system's again at its
    end; a process that goes on keeps some of what it freed.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_with_threads, torch.get_num_threads(), function, args).result()


def _with_threads(num_threads: int, function: Callable[..., Result], args: Sequence[Any]) -> Result:
    torch.set_num_threads(num_threads)
    return function(*args)


def peak_mib(prepare: Callable[..., Side], *args: Any) -> float:
    """Highest resident size while `prepare(*args)()` runs, above that after `prepare(*args)`, in a fresh process.

    Linux only.
    """
    return in_new_process(_peak_after, prepare, args)


def _peak_after(prepare: Callable[..., Side], args: Sequence[Any]) -> float:
    return peak_here_mib(prepare(*args))


def peak_here_mib(work: Side) -> float:
    """Highest resident size while `work` runs, above that before it; what this process freed earlier hides some."""
    before = _status_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest size so far is forgotten
    work()
    return round(_status_mib("VmHWM") - before, 1)


def free_mib() -> float:
    """Memory of this machine that nobody uses."""
    return _entry_mib("meminfo", "MemAvailable")


def _status_mib(entry: str) -> float:
    return _entry_mib("self/status", entry)


def _entry_mib(file: str, entry: str) -> float:
    found = re.search(rf"{entry}:\s+(\d+) kB", (Path("/proc") / file).read_text())
    return int(found[1]) * 1024 / MIB


def results_file(name: str) -> Path:
    """Where the results of a benchmark on this machine stand."""
    facts = machine()
    return RESULTS / (re.sub(r"\W+", "_", f"{name} {facts['processor']} {facts['num_cores']} cores".lower()) + ".json")


def write_results(name: str, rows: Sequence[Mapping[str, Any]], out: Path | None = None) -> Path:
    """Write all rows found so far to `out`, or to where results of this machine stand; returns the file."""
    results = {"benchmark": name, "machine": machine(), "rows": list(rows)}
    return write_whole(out or results_file(name), json.dumps(results, indent=2) + "\n")


def earlier_rows(name: str, out: Path | None = None) -> list[dict[str, Any]]:
    """What `write_results` wrote there before; nothing where there is no such file."""
    file = out or results_file(name)
    return json.loads(file.read_text("utf-8"))["rows"] if file.exists() else []


def benchmark_parser(doc: str, num_runs: int = 5) -> argparse.ArgumentParser:
    """`--runs`, `--quick` and `--out`, described by the first paragraph of the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=doc.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=num_runs, help="how often each side is measured")
    parser.add_argument("--quick", action="store_true", help="one run of a small shape, nothing written unless --out")
    parser.add_argument("--out", type=Path, help="JSON file for the results (default: named after the machine)")
    return parser
