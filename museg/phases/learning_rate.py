"""The learning rate as a pure function of the step inside a fit."""

import math
from typing import Literal

Shape = Literal["linear", "cosine", "constant"]


def learning_rate(
    step: int,
    num_steps: int,
    *,
    peak: float,
    warmup_steps: int = 0,
    final_fraction: float = 0.0,
    shape: Shape = "linear",
) -> float:
    """The rate of optimizer step `step` (from 0) in a fit of `num_steps` steps.

    The warm-up climbs in equal steps and the first step already moves: step 0 runs at peak / (warmup_steps + 1), step
    `warmup_steps` at `peak`. From there `shape` leads to `final_fraction * peak`, which would be reached at step
    `num_steps`, one after the last.

    Raises ValueError for a step outside 0 ... num_steps, for negative settings and for an unknown shape.

    Source: linear, no warm-up, final_fraction 0 is the schedule of THUNLP-MT/MUSEG 889565e (the default of the Hugging
    Face Trainer, get_linear_schedule_with_warmup).
    """
    if not 0 <= step <= num_steps:
        raise ValueError(f"step must lie in 0 ... {num_steps} (the length of the fit), given {step}")
    if peak < 0 or warmup_steps < 0 or not 0 <= final_fraction <= 1:
        raise ValueError(
            "peak and warmup_steps must not be negative and final_fraction must lie in 0 ... 1, "
            f"given peak={peak}, warmup_steps={warmup_steps}, final_fraction={final_fraction}"
        )
    if step < warmup_steps:
        return peak * (step + 1) / (warmup_steps + 1)
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    return peak * (final_fraction + (1 - final_fraction) * _remaining(progress, shape))


def _remaining(progress: float, shape: Shape) -> float:
    """What is left of the way down: 1 at progress 0; 0 at progress 1 unless the shape is constant."""
    if shape == "linear":
        return 1 - progress
    if shape == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if shape == "constant":
        return 1.0
    raise ValueError(f"shape must be linear, cosine or constant, given {shape!r}")
