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

import argparse
import json
import multiprocessing
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from tests.benchmarks.scoring import CLOCKS, RESULTS, machine
from tests.policy.sized_policy import sized_policy

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
FRAME_GRID = (12, 16)
"""Patches of a frame, 168 x 224 px: 48 tokens for every two frames."""
TEXT_TOKENS = 64
"""At least as many of a prompt are text."""
TOLERANCE = 1e-4
MIB = 2**20


@dataclass(frozen=True)
class Shape:
    """Prompt tokens, tokens of every completion, completions."""

    prompt: int
    completion: int
    generations: int

    @classmethod
    def read(cls, text: str) -> "Shape":
        """From "1024x128x8"."""
        return cls(*map(int, text.split("x")))

    def __str__(self) -> str:
        return f"P{self.prompt} C{self.completion} G{self.generations}"


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


def measured_s(shape: Shape, num_runs: int) -> dict[str, dict[str, list[float]]]:
    """Seconds by clock and side, run by run; a first round warms up and compares the results."""
    policy, reference = made_models()
    inputs = made_inputs(policy, shape)
    right = work(SIDES["plain"], policy, reference, inputs)
    for name, log_probs_of in SIDES.items():
        gap = float((work(log_probs_of, policy, reference, inputs) - right).abs().max())
        if not gap < TOLERANCE:
            raise SystemExit(f"{name} at {shape}: log-probabilities are {gap} away from those of the plain forward")
    found: dict[str, dict[str, list[float]]] = {clock: {name: [] for name in SIDES} for clock in CLOCKS}
    for _ in range(num_runs):
        for name, log_probs_of in SIDES.items():
            starts_s = [read() for read in CLOCKS.values()]
            work(log_probs_of, policy, reference, inputs)
            for (clock, read), start_s in zip(CLOCKS.items(), starts_s, strict=True):
                found[clock][name].append(round(read() - start_s, 4))
    return found


def peak_mib(name: str, shape: Shape, num_threads: int) -> float:
    """Highest resident size during one side's work, above that before it; asks for a process of its own."""
    torch.set_num_threads(num_threads)
    policy, reference = made_models()
    inputs = made_inputs(policy, shape)
    before = _status_mib("VmRSS")
    Path("/proc/self/clear_refs").write_text(
        "5"
    )  # the highest size so far is forgotten: building the models is not meant
    work(SIDES[name], policy, reference, inputs)
    return round(_status_mib("VmHWM") - before, 1)


def _status_mib(entry: str) -> float:
    found = re.search(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / MIB


def measured(shape: Shape, num_runs: int) -> dict[str, Any]:
    """Seconds and MiB of all sides at one shape, and how many times those of the shared prefix they are."""
    seconds = measured_s(shape, num_runs)
    medians = {
        clock: {name: statistics.median(runs) for name, runs in sides.items()} for clock, sides in seconds.items()
    }
    context, memory = multiprocessing.get_context("spawn"), {}
    for name in SIDES:
        with context.Pool(1) as pool:
            memory[name] = pool.apply(peak_mib, (name, shape, torch.get_num_threads()))
    found = {
        "shape": str(shape),
        "seconds": seconds,
        "peak_mib": memory,
        "time_ratio": {
            clock: {name: round(found / sides["shared"], 2) for name, found in sides.items()}
            for clock, sides in medians.items()
        },
        "memory_ratio": {name: round(memory[name] / memory["shared"], 2) for name in SIDES},
    }
    print(json.dumps(found), flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    facts = machine()
    name = re.sub(r"\W+", "_", f"log_probs {facts['processor']} {facts['num_cores']} cores".lower())
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shapes", nargs="+", type=Shape.read, default=[Shape(1024, 128, 8), Shape(2048, 128, 8)])
    parser.add_argument("--runs", type=int, default=5, help="how often each side is measured")
    parser.add_argument("--quick", action="store_true", help="one run of a small shape, nothing written unless --out")
    parser.add_argument("--out", type=Path, help=f"JSON file for the results (default: {RESULTS / name}.json)")
    options = parser.parse_args(arguments)
    if options.quick:
        options.shapes, options.runs = [Shape(256, 32, 4)], 1
    results = {"machine": facts, "shapes": [measured(shape, options.runs) for shape in options.shapes]}
    out = options.out or (None if options.quick else RESULTS / f"{name}.json")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(results, indent=2) + "\n", "utf-8")
        print(f"written to {out}")


if __name__ == "__main__":
    main()
