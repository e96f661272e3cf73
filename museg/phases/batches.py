"""Which examples an optimizer step uses: pure functions of the step, so that a resumed run draws what it would have
drawn.

Nothing here depends on the number of processes or on a global random generator.
"""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class ExampleRef:
    """Row `row` of data file `file`, both counted from 0."""

    file: int
    row: int


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on their order; 1 and "1" differ.

    SHA-256 instead of arithmetic on seeds: neighbouring seeds and steps must not give related streams.
    """
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def by_step(
    step: int,
    *,
    prompts_per_step: int,
    file_sizes: Sequence[int],
    seed: int,
    num_draws: Sequence[int] | None = None,
) -> list[ExampleRef]:
    """The examples of global step `step` when data follow the step alone, whatever the phases are.

    The files are read one after another, each shuffled by `seed`; when all are read, they start over in another order.
    A step may span the end of a file. With the released files (5,600 and 7,000 rows) and 14 prompts per step the second
    file begins at step 400.

    `num_draws`: how often each file is drawn from before the next begins, at least its size; None: its size. A file
    that lacks rows held out for validation is thus filled up with its own rows, reshuffled, and the next begins when it
    would have begun.
    """
    _check(step, prompts_per_step, file_sizes)
    num_draws = file_sizes if num_draws is None else num_draws
    if any(draws < size for draws, size in zip(num_draws, file_sizes, strict=True)):
        raise ValueError(f"num_draws {list(num_draws)} must reach the file sizes {list(file_sizes)}")
    epoch_draws = sum(num_draws)
    return [
        _draw(index % epoch_draws, file_sizes, num_draws, (seed, "by_step", index // epoch_draws))
        for index in range(step * prompts_per_step, (step + 1) * prompts_per_step)
    ]


def by_phase(
    phase_index: int, step_in_phase: int, *, prompts_per_step: int, file_sizes: Sequence[int], seed: int
) -> list[ExampleRef]:
    """The examples of a phase's step when every phase has its own file: file `phase_index`, or the last for later
    phases.

    The file is shuffled by seed and phase, and reshuffled each time it is used up.
    """
    _check(step_in_phase, prompts_per_step, file_sizes)
    if phase_index < 0:
        raise ValueError(f"phase_index must be 0 or more, given {phase_index}")
    file = min(phase_index, len(file_sizes) - 1)
    size = file_sizes[file]
    return [
        ExampleRef(file, _shuffled(size, derive_seed(seed, "by_phase", phase_index, index // size))[index % size])
        for index in range(step_in_phase * prompts_per_step, (step_in_phase + 1) * prompts_per_step)
    ]


def _draw(
    position: int, file_sizes: Sequence[int], num_draws: Sequence[int], epoch_key: tuple[int | str, ...]
) -> ExampleRef:
    """The example at `position` of an epoch that reads the files in order."""
    for file, (size, draws) in enumerate(zip(file_sizes, num_draws, strict=True)):
        if position < draws:
            refill, place = divmod(position, size)
            key = (*epoch_key, file, refill) if refill else (*epoch_key, file)
            return ExampleRef(file, _shuffled(size, derive_seed(*key))[place])
        position -= draws
    raise AssertionError("position lies beyond the epoch")


@lru_cache(maxsize=8)  # a step touches at most a few (file, epoch) orders, and the next step the same ones
def _shuffled(size: int, seed: int) -> tuple[int, ...]:
    rows = list(range(size))
    random.Random(seed).shuffle(rows)
    return tuple(rows)


def _check(step: int, prompts_per_step: int, file_sizes: Sequence[int]) -> None:
    if step < 0 or prompts_per_step < 1:
        raise ValueError(f"step must be 0 or more and prompts_per_step 1 or more, given {step} and {prompts_per_step}")
    if not file_sizes or min(file_sizes) < 1:
        raise ValueError(f"every data file needs at least one example, given file sizes {list(file_sizes)}")
