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

**Source** of the released way: THUNLP-MT/MUSEG 889565e, src/trainer.py, _get_per_token_logps and compute_loss.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from museg.data.examples import GroundingExample
from museg.policy.loading import Policy
from museg.policy.log_probs import completion_log_probs
from museg.policy.positions import prompt_position_ids
from museg.policy.processing import PromptBatch
from museg.policy.reference import Reference
from museg.policy.shared_prefix import shared_prefix_log_probs
from tests.benchmarks.measure import (
    SIZES,
    Seconds,
    Shape,
    benchmark_parser,
    comparison,
    interleaved,
    peak_mib,
    write_results,
)
from tests.policy.sized_policy import sized_policy

FRAME_GRID = (12, 16)
"""Patches of a frame, 168 x 224 px: 48 tokens for every two frames."""
TEXT_TOKENS = 64
"""At least as many of a prompt are text."""
TOLERANCE = 1e-4


Inputs = tuple[PromptBatch, Tensor, Tensor, int]
LogProbs = Callable[..., Tensor]


def made_inputs(policy: Policy, shape: Shape) -> Inputs:
    """A prompt about a video of noise, and completions of random ordinary tokens."""
    generator = torch.Generator().manual_seed(0)
    num_steps = (shape.prompt - TEXT_TOKENS) // (FRAME_GRID[0] * FRAME_GRID[1] // 4)
    grid = torch.tensor([[num_steps, *FRAME_GRID]])
    num_video = int(grid.prod()) // 4
    ids = torch.randint(0, 256, (1, shape.prompt), generator=generator)
    ids[0, 8] = policy.ids.vision_start_id
    ids[0, 9 : 9 + num_video] = policy.ids.video_id
    ids[0, 9 + num_video] = policy.ids.vision_end_id
    positions, next_position = prompt_position_ids(
        ids, torch.ones_like(ids), grid, torch.ones(1), video_id=policy.ids.video_id
    )
    batch = PromptBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=torch.randn(int(grid.prod()), 1176, generator=generator),
        video_grid_thw=grid,
        second_per_grid_ts=torch.ones(1),
        position_ids=positions,
        next_position=next_position,
        examples=(GroundingExample("noise", "", "", (), None, "tvg", "noise"),),
    )
    completions = torch.randint(0, 256, (shape.generations, shape.completion), generator=generator)
    return batch, completions, torch.ones_like(completions, dtype=torch.bool), shape.generations


def released_log_probs(policy: Policy, batch: PromptBatch, ids: Tensor, mask: Tensor, num_generations: int) -> Tensor:
    """Log-probabilities [N, C] of the completions of one prompt, as the released trainer works them out."""
    steps = (batch.next_position + torch.arange(ids.shape[1])).expand(3, num_generations, -1)
    input_ids = torch.cat([batch.input_ids.expand(num_generations, -1), ids], dim=1)
    logits = policy.model(
        input_ids=input_ids,
        pixel_values_videos=batch.pixel_values_videos.repeat(num_generations, 1),
        video_grid_thw=batch.video_grid_thw.repeat(num_generations, 1),
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


def measured_s(shape: Shape, num_runs: int) -> Seconds:
    """Seconds by clock and side, run by run, once the results have been compared."""
    policy, reference = made_models()
    inputs = made_inputs(policy, shape)
    right = work(SIDES["plain"], policy, reference, inputs)
    for name, log_probs_of in SIDES.items():
        gap = float((work(log_probs_of, policy, reference, inputs) - right).abs().max())
        if not gap < TOLERANCE:
            raise SystemExit(f"{name} at {shape}: log-probabilities are {gap} away from those of the plain forward")
    return interleaved({name: partial(work, side, policy, reference, inputs) for name, side in SIDES.items()}, num_runs)


def prepared(name: str, shape: Shape) -> Callable[[], Tensor]:
    """One side's work, its models loaded."""
    policy, reference = made_models()
    return partial(work, SIDES[name], policy, reference, made_inputs(policy, shape))


def measured(shape: Shape, num_runs: int) -> dict[str, Any]:
    """Seconds and MiB of all sides at one shape, and how many times those of the shared prefix they are."""
    seconds = measured_s(shape, num_runs)
    peaks_mib = {name: peak_mib(prepared, name, shape) for name in SIDES}
    row = comparison("log-probabilities", shape, ours="shared", seconds=seconds, peaks_mib=peaks_mib)
    print(json.dumps(row), flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", type=Shape.read, default=[Shape(1024, 128, 8), Shape(2048, 128, 8)])
    options = parser.parse_args(arguments)
    if options.quick:
        options.shapes, options.runs = [Shape(256, 32, 4)], 1
    rows = [measured(shape, options.runs) for shape in options.shapes]
    if options.out or not options.quick:
        print(f"written to {write_results('log_probs', rows, options.out)}")


if __name__ == "__main__":
    main()
