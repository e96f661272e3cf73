"""Every part of a step on one GPU, beside what it must at least take. `python -m tests.benchmarks.gpu --model 3b`

Models of the published shapes with random weights made on the device, at the released settings: videos of 448 frames
and 3,584 tokens, 8 completions of 300 tokens, 14 prompts a step. Needs torch, transformers and this package, no
download, and ends within the minutes it is given. Of each part: seconds, tokens per second, memory of the device, and

- MFU: the arithmetic of the model, nothing counted twice, over what the device could have done in that time;
- floor: what the part would take if matrix products ran as fast as one of 8192 x 8192 in bfloat16 and bytes moved as
  fast as in a copy, both measured at the start. What checkpointing computes again belongs to the floor, not to the MFU.

First, small comparisons tell whether the device computes what it should. A part that fails is told, and the others go
on; results are written after every part. On a processor everything is float32, and only `--model tiny` makes sense.
It has not been run on a GPU yet.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch._dynamo
import transformers

from tests.benchmarks.gpu_checks import MODEL_TOLERANCE, TOLERANCE, Checks
from tests.benchmarks.gpu_floor import Peaks, Work, floor_s
from tests.benchmarks.gpu_parts import Part, Trained, parts_of
from tests.benchmarks.gpu_shapes import (
    GIB,
    MODELS,
    QUICK,
    RELEASED,
    chosen_storage,
    config_of,
    memory_table,
    needed_gib,
    size_of,
)
from tests.benchmarks.gpu_timing import capacity_gib, measured_peaks, timed_s
from tests.benchmarks.measure import benchmark_parser, write_results

HEADER = f"{'part':38}{'ms':>10}{'tokens/s':>10}{'GiB':>7}{'MFU':>7}{'floor ms':>10}{'floor/time':>11}"

Found = TypeVar("Found")


@dataclass
class Report:
    """What was found so far: rows that are printed and written as they come."""

    name: str
    shape: str
    out: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, measure: str, **found: Any) -> None:
        """One more row; what a row may hold stands in `tests.benchmarks.measure`."""
        self.rows.append({"measure": measure, "shape": self.shape} | found)
        write_results(self.name, self.rows, self.out)
        print(line_of(self.rows[-1]), flush=True)

    def attempt(self, measure: str, work: Callable[[], Found]) -> Found | None:
        """Do the work; where it fails, the error is the row, and the result is None."""
        try:
            return work()
        except Exception as error:  # of whatever kind: the other parts are still worth measuring
            self.add(measure, error=f"{type(error).__name__}: {str(error)[:600]}")
            return None

    def median_s(self, measure: str) -> float:
        """Seconds of an earlier part. Raises ValueError where it has none."""
        for row in self.rows:
            if row["measure"] == measure and "error" not in row:
                return row["values"]["median_s"]
        raise ValueError(f"{measure!r} was not measured, and what it takes would have to be taken off")


def line_of(row: dict[str, Any]) -> str:
    """A row for people."""
    if "error" in row:
        return f"{row['measure']:38}  {row['error'].splitlines()[0]}"
    values = row["values"]
    if "median_s" not in values:
        return f"{row['measure']:38}  " + ", ".join(f"{name} {value}" for name, value in values.items())
    columns = (
        ("median_s", 10, lambda value: f"{1e3 * value:.2f}"),
        ("tokens_per_s", 10, lambda value: f"{value:,.0f}"),
        ("peak_gib", 7, lambda value: f"{value:.1f}"),
        ("mfu", 7, lambda value: f"{value:.1%}"),
        ("floor_s", 10, lambda value: f"{1e3 * value:.2f}"),
        ("floor_share", 11, lambda value: f"{value:.1%}"),
    )
    cells = (f"{show(values[name]) if name in values else '':>{width}}" for name, width, show in columns)
    notes = [f"{1e3 * values['token_s']:.2f} ms a token"] if "token_s" in values else []
    notes += [] if row["is_warm"] else ["not warmed up"]
    notes += row["notes"]
    return f"{row['measure']:38}{''.join(cells)}  {', '.join(notes)}".rstrip()


def values_of(seconds: Sequence[float], works: Sequence[Work], num_tokens: int, peaks: Peaks) -> dict[str, float]:
    """What a part's seconds mean."""
    middle_s, least_s = statistics.median(seconds), floor_s(works, peaks)
    values = {"median_s": middle_s, "floor_s": least_s, "floor_share": least_s / middle_s}
    if flops := sum(work.flops - work.repeated_flops for work in works):
        values |= {"tflop": flops / 1e12, "mfu": flops / (middle_s * peaks.flops_per_s)}
    return values | ({"tokens_per_s": num_tokens / middle_s} if num_tokens else {})


def measure(part: Part, trained: Trained, report: Report, peaks: Peaks, **limits: float) -> None:
    """Add a part's row; `limits` are those of `timed_s`."""
    device, before_s = trained.device, report.median_s(part.minus) if part.minus else 0.0
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with warnings.catch_warnings(record=True) as told:
        first, *others = timed_s(part.prepare, device, precision=trained.precision, **limits)
    seconds = [second - before_s for second in others or [first]]
    works, num_tokens = part.describe()
    values = values_of(seconds, works, num_tokens, peaks)
    if part.minus:  # a piece of work is a token of every row
        values["token_s"] = values["median_s"] / max(len(works), 1)
    if device.type == "cuda":
        values["peak_gib"] = torch.cuda.max_memory_allocated(device) / GIB
    values = {name: round(value, 7) for name, value in values.items()}
    notes = sorted({str(warning.message) for warning in told})  # such as that a kernel could not be used
    report.add(part.name, values=values, seconds=seconds, first_s=first, is_warm=bool(others), notes=notes)


def run_parts(trained: Trained, report: Report, peaks: Peaks, end_s: float, num_runs: int) -> None:
    """Measure one after the other; each may repeat for an equal share of the time that is left."""
    parts = parts_of(trained)
    for number, part in enumerate(parts):
        left_s = end_s - time.monotonic()
        limits = {"left_s": left_s, "limit_s": left_s / (len(parts) - number), "num_runs": num_runs}
        if left_s > 0:
            report.attempt(part.name, partial(measure, part, trained, report, peaks, **limits))
            trained.settle()
        else:
            report.add(part.name, error="not measured: no time was left")


def add_memory(report: Report, estimated_gib: float) -> None:
    """Put what was counted beside the most that any part took, where that was measured."""
    peaks = [row["values"]["peak_gib"] for row in report.rows if "peak_gib" in row.get("values", {})]
    if peaks:
        report.add("memory", values={"estimated_gib": round(estimated_gib, 1), "measured_gib": round(max(peaks), 1)})


def holds(report: Report, name: str, check: Callable[[], dict[str, float]], tolerance: float) -> bool:
    """Add the row of a comparison; whether all that should be equal is."""
    found = report.attempt(name, check)
    if found is None:
        return False
    is_equal = all(gap < tolerance for gap in found.values())
    report.add(name, values=found, **({} if is_equal else {"error": f"not equal within {tolerance}: {found}"}))
    return is_equal


def run_checks(device: torch.device, report: Report) -> list[str]:
    """Add a row for every comparison on the small model; returns the names of those that failed."""
    checks = report.attempt("comparisons", lambda: Checks(device))
    if checks is None:
        return ["comparisons"]
    return [name for name, check in checks.by_name.items() if not holds(report, name, check, TOLERANCE)]


def device_facts(device: torch.device, peaks: Peaks) -> dict[str, Any]:
    """What the seconds belong to, beside the processor."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "cuda": torch.version.cuda,
        "transformers": transformers.__version__,
        "matrix_tflop_per_s": round(peaks.flops_per_s / 1e12, 3),
        "copy_gb_per_s": round(peaks.bytes_per_s / 1e9, 1),
    }


@torch._dynamo.config.patch(fail_on_recompile_limit_hit=True)  # rather than time what was given up to be compiled
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    start_s = time.monotonic()
    parser = benchmark_parser(__doc__)
    parser.add_argument("--model", choices=MODELS, default="3b", help="size of the model")
    parser.add_argument("--minutes", type=float, default=9.0, help="when to end, at the latest after the running part")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", ".*will be removed in v6.*")  # names of the library that older versions need
    if options.quick:
        options.model, options.runs = "tiny", 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    setting = QUICK if options.model == "tiny" else RELEASED
    num_parameters = size_of(config_of(options.model))
    print(memory_table(options.model, num_parameters, capacity_gib(device)))
    storage = chosen_storage(options.model, num_parameters, capacity_gib(device))
    print(f"weights, gradients, optimizer and reference: {storage.name}\n{HEADER}")
    report = Report(f"gpu {options.model}", str(setting), options.out)
    torch.manual_seed(0)
    peaks = measured_peaks(device)
    report.add("device", values=device_facts(device, peaks) | {"storage": storage.name})
    wrong = run_checks(device, report)
    torch.compiler.reset()  # kernels of the small model count against the number that may be compiled
    trained = report.attempt("models", lambda: Trained(options.model, setting, storage, device))
    if trained is not None:
        name = "log-probabilities, this model"
        wrong += [] if holds(report, name, trained.agreement, MODEL_TOLERANCE) else [name]
        run_parts(trained, report, peaks, start_s + 60 * options.minutes, options.runs)
        add_memory(report, needed_gib(options.model, storage, num_parameters))
    if wrong:
        raise SystemExit(f"the device does not compute what it should: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
