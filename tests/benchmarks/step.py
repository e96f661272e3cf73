"""Whole GRPO steps: ours, TRL's, and the released way on video. `python -m tests.benchmarks.step`

A step samples G completions of C tokens to one prompt of P, rewards them, works out the log-probabilities of policy and
reference, goes backward, clips and lets AdamW update. No completion ends before its length.

On text, where TRL can train (it has no video in this loss):
- ours: `MusegModule.training_step` on a prompt without a video.
- trl: `GRPOTrainer` as it is, on the same text model alone (`tests.benchmarks.trl_step`).
- trl_compact: with logits of completion tokens alone; trl_row_by_row: besides one completion a pass.
On video, nearly all of the prompt:
- ours: the same module, its vision tower trained with it.
- released: `generate` with G copies of prompt and video (`tests.benchmarks.rollout`), and for policy and reference a
  row with the whole prompt for each completion, its own vision pass and logits of all positions
  (`tests.benchmarks.log_probs`); otherwise ours.

First all sides make a step on the same completions: losses and clipped gradients must agree. The first step of a side
goes through the whole program (`Trainer.fit`, `GRPOTrainer.train`) and is not timed; the timed ones call the training
step of the module or trainer and, for TRL, its optimizer, without the loop around it. Peak memory is that of the whole
program with one step, above the loaded models.

**Source** of the released way: THUNLP-MT/MUSEG 889565e, src/trainer.py.
"""

import json
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from museg.objectives.advantages import group_advantages
from museg.objectives.grpo import grpo_loss
from museg.policy.reference import Reference
from tests.benchmarks.grpo_setup import Setup, move, text_reward
from tests.benchmarks.log_probs import released_log_probs
from tests.benchmarks.measure import Shape, benchmark_parser, comparison, interleaved, peak_mib, write_results
from tests.benchmarks.museg_step import MusegStep, made_policy
from tests.benchmarks.noise_inputs import made_inputs
from tests.benchmarks.rollout import repeated
from tests.benchmarks.trl_step import TrlStep

LOSS_TOLERANCE = 1e-6
"""Absolute; the terms that make up a loss are of the order of 1."""
GRADIENT_TOLERANCE = 1e-5
"""Of all gradients together, relative to their size."""


class Side(Protocol):
    """One way of making the step."""

    compared: nn.Module
    optimizer: torch.optim.Optimizer

    def start(self) -> None:
        """The first step and all that must be set up for it."""

    def run(self) -> float:
        """A whole step; returns the loss."""

    def follow(self, completion_ids: Tensor) -> float:
        """The same on given completions [G, C]."""


class ReleasedStep:
    """The released trainer's step on video, in one process."""

    def __init__(self, setup: Setup) -> None:
        self.setup, self.policy = setup, made_policy(setup)
        self.reference = Reference(self.policy)
        move(self.policy.model.model.language_model)
        self.batch = made_inputs(self.policy, setup.shape)[0]
        self.policy.model.generation_config.suppress_tokens = setup.never_sampled(self.policy.ids)
        self.policy.model.generation_config.pad_token_id = self.policy.ids.pad_id
        self.compared = self.policy.model
        self.optimizer = torch.optim.AdamW(
            self.compared.parameters(), lr=setup.lr, betas=setup.betas, eps=setup.eps, weight_decay=0.0
        )

    def start(self) -> None:
        self.run()

    def run(self) -> float:
        return self.follow(self.sampled())

    def sampled(self) -> Tensor:
        """Completions [G, C] by the library, every row with a prompt and a video of its own."""
        self.policy.model.eval()
        completion_ids = repeated(self.policy, self.batch, self.setup.shape, False)
        self.policy.model.train()
        return completion_ids

    def follow(self, completion_ids: Tensor) -> float:
        setup, mask = self.setup, torch.ones_like(completion_ids, dtype=torch.bool)
        texts = self.policy.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        advantages = group_advantages(torch.tensor([[text_reward(text) for text in texts]]))[0]
        inputs = (self.batch, completion_ids, mask, setup.shape.generations)
        with torch.no_grad():
            reference = released_log_probs(self.reference.policy, *inputs)
        log_probs = released_log_probs(self.policy, *inputs)
        clip_range = (setup.clip, setup.clip)
        loss = grpo_loss(log_probs, None, reference, advantages, mask, beta=setup.beta, clip_range=clip_range).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.compared.parameters(), setup.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


Sides = Mapping[str, Callable[[Setup], Side]]
ON_TEXT: Sides = {
    "ours": partial(MusegStep, has_video=False),
    "trl": TrlStep,
    "trl_compact": partial(TrlStep, is_compact=True),
    "trl_row_by_row": partial(TrlStep, is_compact=True, rows_at_once=1),
}
ON_VIDEO: Sides = {"ours": partial(MusegStep, has_video=True), "released": ReleasedStep}
PROMPTS: dict[str, Sides] = {"text": ON_TEXT, "video": ON_VIDEO}


def followed(side: Side, completion_ids: Tensor) -> tuple[float, Tensor]:
    """The loss of a step on these completions, and all gradients in one row as the optimizer was given them."""
    found: list[Tensor] = []

    def keep(*_: object) -> None:
        found.extend(parameter.grad.flatten().clone() for parameter in side.compared.parameters())

    hook = side.optimizer.register_step_pre_hook(keep)
    loss = side.follow(completion_ids)
    hook.remove()
    return loss, torch.cat(found)


def check(sides: Mapping[str, Side], setup: Setup) -> None:
    """Exit unless every side makes the step that ours makes."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 256, (setup.shape.generations, setup.shape.completion), generator=generator)
    right_loss, right = followed(sides["ours"], ids)
    for name, side in sides.items():
        loss, gradients = followed(side, ids)
        gap = float((gradients - right).norm() / right.norm())
        if not (abs(loss - right_loss) < LOSS_TOLERANCE and gap < GRADIENT_TOLERANCE):
            raise SystemExit(f"{name} at {setup.shape}: loss {loss}, ours {right_loss}; gradients differ by {gap}")


def prepared(prompt: str, name: str, setup: Setup) -> Callable[[], object]:
    """One side's first step, its models loaded."""
    return PROMPTS[prompt][name](setup).start


def measured(prompt: str, setup: Setup, num_runs: int, *, has_memory: bool = True) -> dict[str, Any]:
    """Seconds and, each in a process of its own, MiB of all sides on one kind of prompt."""
    names = PROMPTS[prompt]
    peaks_mib = {name: peak_mib(prepared, prompt, name, setup) for name in names} if has_memory else None
    sides = {name: made(setup) for name, made in names.items()}
    for side in sides.values():
        side.start()
    check(sides, setup)
    seconds = interleaved({name: side.run for name, side in sides.items()}, num_runs)
    measure = f"whole step on {prompt}" + (", gradient checkpointing" if setup.checkpointing else "")
    row = comparison(measure, setup.shape, ours="ours", seconds=seconds, peaks_mib=peaks_mib)
    print(json.dumps(row), flush=True)
    return row


def options_of(arguments: Sequence[str] | None) -> Namespace:
    """The command line."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--shapes", nargs="+", type=Shape.read, default=[Shape(1024, 128, 8), Shape(2048, 128, 8)])
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=list(PROMPTS), help="kinds of prompt")
    parser.add_argument("--checkpointing", action="store_true", help="all sides with gradient checkpointing")
    options = parser.parse_args(arguments)
    if options.quick:
        options.shapes, options.runs = [Shape(256, 16, 4)], 1
    return options


def main(arguments: Sequence[str] | None = None, **changes: Any) -> None:
    """Measure, print, write; `changes` are made to the set-up (a smaller model, for a test)."""
    options = options_of(arguments)
    if "text" in options.prompts and find_spec("trl") is None:
        raise SystemExit("TRL is not installed: pip install -e '.[bench]' -c constraints.txt")
    rows = []
    for shape in options.shapes:
        setup = replace(Setup(shape, checkpointing=options.checkpointing), **changes)
        for prompt in options.prompts:
            rows.append(measured(prompt, setup, options.runs, has_memory=not options.quick))
        if options.out or not options.quick:
            name = "step_checkpointing" if options.checkpointing else "step"
            print(f"written to {write_results(name, rows, options.out)}")


if __name__ == "__main__":
    main()
