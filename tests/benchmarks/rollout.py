"""Completions of one prompt about a video, sampled four ways. `python -m tests.benchmarks.rollout`

One prompt of P tokens, nearly all of them video, G completions of exactly C tokens at temperature 1. Nothing ends a
completion before, and no token is banned, so that all sides write equally much.

- generate: the library's `generate` on the prompt and its video G times over, as the released trainer calls it.
- num_return_sequences: `generate` on one prompt that is asked for G sequences.
- plain: our sampling with the prompt read once and its keys and values repeated G times.
- cascade: our sampling as it is by default.

The library is given our positions, and our batched vision windows, without which it would be slower still. With the
likeliest token taken throughout, all sides must write the same G times C tokens; that is looked at before anything is
measured. Times are of runs in turns within one process, a new one for each shape.

**Source** of generate on G prompts: THUNLP-MT/MUSEG 889565e, src/trainer.py, compute_loss.
"""

import itertools
import json
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from museg.policy.loading import Policy
from museg.policy.processing import PromptBatch
from museg.policy.rollout import RolloutSettings, sample_rollouts
from tests.benchmarks.measure import (
    SIZES,
    Seconds,
    Shape,
    benchmark_parser,
    comparison,
    earlier_rows,
    in_new_process,
    interleaved,
    write_results,
)
from tests.benchmarks.noise_inputs import made_inputs
from tests.policy.sized_policy import sized_policy

SHAPES = [Shape(*sizes, 8) for sizes in itertools.product((256, 1024, 2048), (64, 128))]
ALMOST_ZERO = 1e-6
"""A temperature that leaves all probability to the likeliest token."""
NO_TOKEN = -1

Side = Callable[[Policy, PromptBatch, Shape, bool], Tensor]
"""Tokens [G, C] of a prompt; the last argument: take the likeliest instead of sampling."""


def made_policy() -> Policy:
    """The model of all benchmarks, which no token stops and to which every token is allowed."""
    policy = sized_policy(**SIZES)
    policy.model.eval()
    policy.model.generation_config.eos_token_id = None
    policy.model.generation_config.pad_token_id = policy.ids.pad_id
    return replace(policy, ids=replace(policy.ids, stop_ids=(NO_TOKEN,), banned_ids=()))


@torch.no_grad()
def generated(
    policy: Policy, batch: PromptBatch, shape: Shape, is_greedy: bool, *, copies: int, sequences: int
) -> Tensor:
    """Tokens by the library, of so many copies of prompt and video that are asked for so many sequences each."""
    text_positions = torch.arange(shape.prompt).expand(1, 1, -1)  # the library wants them before the rotary ones
    output = policy.model.generate(
        input_ids=batch.input_ids.repeat(copies, 1),
        attention_mask=batch.attention_mask.repeat(copies, 1),
        pixel_values_videos=batch.pixel_values.repeat(copies, 1),
        video_grid_thw=batch.grid_thw.repeat(copies, 1),
        second_per_grid_ts=batch.second_per_grid_ts.repeat(copies),
        mm_token_type_ids=2 * batch.input_ids.eq(policy.ids.video_id).int().repeat(copies, 1),
        position_ids=torch.cat([text_positions, batch.position_ids]).repeat(1, copies, 1),
        num_return_sequences=sequences,
        max_new_tokens=shape.completion,
        do_sample=True,  # several sequences of a prompt are refused without
        top_k=1 if is_greedy else 0,
    )
    return output[:, shape.prompt :]


def repeated(policy: Policy, batch: PromptBatch, shape: Shape, is_greedy: bool) -> Tensor:
    """Tokens by the library on G copies of the prompt."""
    return generated(policy, batch, shape, is_greedy, copies=shape.generations, sequences=1)


def returned(policy: Policy, batch: PromptBatch, shape: Shape, is_greedy: bool) -> Tensor:
    """Tokens by the library on one prompt that is asked for G sequences."""
    return generated(policy, batch, shape, is_greedy, copies=1, sequences=shape.generations)


def sampled(engine: str, policy: Policy, batch: PromptBatch, shape: Shape, is_greedy: bool) -> Tensor:
    """Tokens by one of our engines."""
    settings = RolloutSettings(
        num_generations=shape.generations,
        temperature=ALMOST_ZERO if is_greedy else 1.0,
        max_new_tokens=shape.completion,
        engine=engine,
    )
    return sample_rollouts(policy, batch, settings, [0]).completion_ids


SIDES: dict[str, Side] = {
    "generate": repeated,
    "num_return_sequences": returned,
    "plain": partial(sampled, "plain"),
    "cascade": partial(sampled, "cascade"),
}


def measured_s(shape: Shape, num_runs: int) -> Seconds:
    """Seconds by clock and side, run by run, once the likeliest tokens have been compared."""
    policy = made_policy()
    batch, *_ = made_inputs(policy, shape)
    likeliest = {name: side(policy, batch, shape, True) for name, side in SIDES.items()}
    first, right = next(iter(likeliest.items()))
    for name, tokens in likeliest.items():
        if not torch.equal(tokens, right):
            raise SystemExit(f"{name} at {shape}: the likeliest tokens are not those of {first}")
    return interleaved({name: partial(side, policy, batch, shape, False) for name, side in SIDES.items()}, num_runs)


def measured(shape: Shape, num_runs: int) -> dict[str, Any]:
    """Seconds of all sides at one shape, and how many times those of the cascade they are."""
    row = comparison("rollout", shape, ours="cascade", seconds=measured_s(shape, num_runs))
    print(json.dumps(row), flush=True)
    return row


def options_of(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", type=Shape.read, default=SHAPES)
    parser.add_argument("--resume", action="store_true", help="keep the shapes that the results file has already")
    options = parser.parse_args(arguments)
    if options.quick:
        options.shapes, options.runs = [Shape(256, 16, 4)], 1
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure shape by shape, print, write what is done."""
    options = options_of(arguments)
    rows = earlier_rows("rollout", options.out) if options.resume else []
    done = {row["shape"] for row in rows}
    for shape in options.shapes:
        if str(shape) not in done:
            rows.append(in_new_process(measured, shape, options.runs))  # whose memory is free again for the next shape
            if options.out or not options.quick:
                print(f"written to {write_results('rollout', rows, options.out)}", flush=True)


if __name__ == "__main__":
    main()
