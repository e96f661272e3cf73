"""Log-probabilities of groups on video, in time and memory, three ways. `python -m tests.benchmarks.log_probs`

One update's work without sampling and optimizer: forward and backward of the policy, everything trained, vision
included; and the forward of the reference. One prompt of P tokens, nearly all of them video, with G completions of C.

- released: every completion a row with the prompt and its own pass through the vision tower; logits of all positions;
  the released formula of the log-probabilities, row by row. It gets our batched vision windows, without which it would
  be slower still.
- plain: `completion_log_probs`; vision once, prompt and completion once per completion, logits of completions alone.
- shared: `shared_prefix_log_probs`.

All three must give the same log-probabilities. Times are medians of runs in turns within one process, by the wall clock
and of the processor; the second does not run while other programs have the core: use OMP_NUM_THREADS=1 for it. Memory
is the highest resident size of a process of its own that does nothing else, above its size with both models loaded;
gradients count, the same on all sides.

`--grid` measures 36 shapes, smallest first, and draws how time and memory grow (`tests.benchmarks.growth`); a side that
the free memory has no room for is left out. `--vocabulary` measures the head alone (`tests.benchmarks.vocabulary`).

**Source** of the released way: THUNLP-MT/MUSEG 889565e, src/trainer.py, _get_per_token_logps and compute_loss.
"""

import itertools
import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import PromptBatch
from museg.policy.reference import Reference
from museg.policy.shared_prefix import shared_prefix_log_probs
from tests.benchmarks import vocabulary
from tests.benchmarks.growth import draw
from tests.benchmarks.measure import (
    SIZES,
    Seconds,
    Shape,
    benchmark_parser,
    comparison,
    earlier_rows,
    free_mib,
    in_new_process,
    interleaved,
    peak_mib,
    results_file,
    write_results,
)
from tests.benchmarks.noise_inputs import Inputs, made_inputs
from tests.policy.sized_policy import sized_policy

TOLERANCE = 1e-4
GRID = sorted(
    (Shape(*sizes) for sizes in itertools.product((256, 1024, 2048, 3700), (64, 128, 256), (4, 8, 16))),
    key=lambda shape: shape.generations * (shape.prompt + shape.completion),
)
"""Smallest first."""
MIB_A_TOKEN = {"released": 0.65, "plain": 0.25, "shared": 0.45}
"""What a side needs for a token of all its rows with this model, by peaks measured at 1024x128x8 and 2048x128x8."""


LogProbs = Callable[..., Tensor]


def released_log_probs(policy: Policy, batch: PromptBatch, ids: Tensor, mask: Tensor, num_generations: int) -> Tensor:
    """Log-probabilities [N, C] of the completions of one prompt, as the released trainer works them out."""
    steps = (batch.next_position + torch.arange(ids.shape[1])).expand(3, num_generations, -1)
    input_ids = torch.cat([batch.input_ids.expand(num_generations, -1), ids], dim=1)
    logits = policy.model(
        input_ids=input_ids,
        pixel_values_videos=batch.pixel_values.repeat(num_generations, 1),
        video_grid_thw=batch.grid_thw.repeat(num_generations, 1),
        position_ids=torch.cat([batch.position_ids.expand(-1, num_generations, -1), steps], dim=2),
        use_cache=False,
    ).logits[:, :-1]
    rows = [
        row.log_softmax(dim=-1).gather(1, targets[:, None])[:, 0]
        for row, targets in zip(logits, input_ids[:, 1:], strict=True)
    ]
    return torch.stack(rows)[:, -ids.shape[1] :] * mask


SIDES: dict[str, LogProbs] = {
    "released": released_log_probs,
    "plain": completion_log_probs,
    "shared": shared_prefix_log_probs,
}


def work(log_probs_of: LogProbs, policy: Policy, reference: Reference, inputs: Inputs) -> Tensor:
    """One update's work; returns the policy's log-probabilities. Gradients are left in place."""
    policy.model.zero_grad()
    log_probs = log_probs_of(policy, *inputs)
    with torch.no_grad():
        reference_log_probs = log_probs_of(reference.policy, *inputs)
    weight = torch.linspace(-1, 1, log_probs.numel()).view(log_probs.shape)
    (log_probs * weight + (log_probs - reference_log_probs).square()).sum().backward()
    return log_probs.detach()


def made_models() -> tuple[Policy, Reference]:
    """The policy in training mode, and its copy."""
    policy = sized_policy(**SIZES)
    policy.model.train()
    return policy, Reference(policy)


def fitting(shape: Shape) -> tuple[dict[str, LogProbs], dict[str, str]]:
    """The sides that the free memory has room for, and why not the others."""
    rows = shape.generations * (shape.prompt + shape.completion)
    tokens = {"released": rows, "plain": rows, "shared": shape.prompt + shape.generations * shape.completion}
    needed_mib = {name: MIB_A_TOKEN.get(name, 0) * tokens.get(name, 0) for name in SIDES}
    left_out = {
        name: f"needs about {needed / 1024:.0f} GiB, {free_mib() / 1024:.0f} GiB are free"
        for name, needed in needed_mib.items()
        if needed > free_mib()
    }
    return {name: side for name, side in SIDES.items() if name not in left_out}, left_out


def measured_s(shape: Shape, num_runs: int, sides: Mapping[str, LogProbs] | None = None) -> Seconds:
    """Seconds by clock and side, run by run, once the results have been compared."""
    sides = SIDES if sides is None else sides
    policy, reference = made_models()
    inputs = made_inputs(policy, shape)
    found = {name: work(log_probs_of, policy, reference, inputs) for name, log_probs_of in sides.items()}
    first, right = next(iter(found.items()))
    for name, log_probs in found.items():
        gap = float((log_probs - right).abs().max())
        if not gap < TOLERANCE:
            raise SystemExit(f"{name} at {shape}: log-probabilities are {gap} away from those of {first}")
    works = {name: partial(work, side, policy, reference, inputs) for name, side in sides.items()}
    return interleaved(works, num_runs, is_warm=True)


def prepared(name: str, shape: Shape) -> Callable[[], Tensor]:
    """One side's work, its models loaded."""
    policy, reference = made_models()
    return partial(work, SIDES[name], policy, reference, made_inputs(policy, shape))


def measured(shape: Shape, num_runs: int) -> dict[str, Any]:
    """Seconds and MiB of all sides at one shape, and how many times those of the shared prefix they are."""
    sides, left_out = fitting(shape)
    peaks_mib = {name: peak_mib(prepared, name, shape) for name in sides}
    seconds = in_new_process(measured_s, shape, num_runs, sides)  # whose memory is free again for the next shape
    more = {"left_out": left_out} if left_out else {}
    row = comparison("log-probabilities", shape, ours="shared", seconds=seconds, peaks_mib=peaks_mib, **more)
    print(json.dumps(row), flush=True)
    return row


def options_of(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = benchmark_parser(__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--shapes", nargs="+", type=Shape.read, default=[Shape(1024, 128, 8), Shape(2048, 128, 8)])
    what.add_argument("--grid", action="store_true", help="all prompt lengths, completion lengths and group sizes")
    what.add_argument("--vocabulary", action="store_true", help="the language head at the published vocabulary instead")
    parser.add_argument("--resume", action="store_true", help="keep the shapes that the results file has already")
    options = parser.parse_args(arguments)
    options.name = "log_probs_grid" if options.grid else "log_probs_vocabulary" if options.vocabulary else "log_probs"
    if options.grid:
        options.shapes = GRID
    if options.vocabulary:
        options.shapes = vocabulary.SHAPES
    if options.quick:
        options.shapes, options.runs = [Shape(256, 32, 4)], 1
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure shape by shape, print, write what is done; draw the growth of the grid."""
    options = options_of(arguments)
    rows = earlier_rows(options.name, options.out) if options.resume else []
    done = {row["shape"] for row in rows}
    for shape in options.shapes:
        if str(shape) not in done:
            rows.append(vocabulary.measured(shape, rows) if options.vocabulary else measured(shape, options.runs))
            if options.out or not options.quick:
                print(f"written to {write_results(options.name, rows, options.out)}", flush=True)
    if options.grid and not options.quick:
        picture = (options.out or results_file(options.name)).with_suffix(".png")
        print(f"drawn in {draw(rows, picture)}")


if __name__ == "__main__":
    main()
