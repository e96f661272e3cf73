"""Write a checkpoint of a training run as an ordinary Hugging Face folder, with a model card.

  python -m museg.commands.export run=outputs/tiny/2026-01-31_12-00-00 output=tiny-grounding
  python -m museg.commands.export run=RUN output=DIR step=400 dtype=bfloat16

run=FOLDER         the run: finished, stopped, or still going on
output=FOLDER      where the model goes; must not exist yet, or be empty
step=N             the checkpoint after N steps; the newest unless told otherwise
checkpoint=FOLDER  instead of step: a folder step_<number> of checkpoints/, which may have been copied elsewhere
dtype=auto         of the weights: float32, bfloat16 (rounded, half the size), or auto, as the checkpoint holds them
base=PATH          where the model is now that the run began with, if not where its configuration says

transformers loads the folder with its own classes, and it can be given to `vllm serve`. An adapter is merged.
Exit status: 0 written, 1 it could not be written, 2 the command could not be understood, 130 stopped.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from museg.commands.key_values import key_values

if TYPE_CHECKING:
    from museg.config.exporting import Asked

DTYPES = ("auto", "float32", "bfloat16")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks and print what came of it; the exit status is explained above."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or {"-h", "--help"} & set(words):
        print(__doc__)
        return 0 if words else 2
    try:
        given = understood(words)
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    # Loads torch and transformers, so only now, with nothing left to complain about.
    from museg.config.exporting import Asked, export_run

    asked = Asked(**given)
    try:
        step, dtype = export_run(asked)
    except (ValueError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    print(_told(asked, step, dtype))
    return 0


def understood(words: Sequence[str]) -> dict[str, Any]:
    """The arguments `key=value`, each as its own type. Raises ValueError for what cannot be meant."""
    read = {"run": Path, "output": Path, "step": _step, "checkpoint": Path, "dtype": _dtype, "base": str}
    texts = key_values(words, read, example="run=outputs/tiny/2026-01-31_12-00-00")
    given = {key: read[key](value) for key, value in texts.items()}
    lacking = [key for key in ("run", "output") if key not in given]
    if lacking:
        raise ValueError(f"give {' and '.join(f'{key}=FOLDER' for key in lacking)}")
    if "step" in given and "checkpoint" in given:
        raise ValueError("give step=N or checkpoint=FOLDER, not both")
    return given


def _step(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ValueError(f"step must be a whole number, not {value!r}")
    return int(value)


def _dtype(value: str) -> str:
    if value not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {value!r}")
    return value


def _told(asked: Asked, step: int, dtype: str) -> str:
    """What the user reads at the end."""
    size_mib = sum(file.stat().st_size for file in asked.output.iterdir()) / 2**20
    return (
        f"exported  {asked.output}: weights after {step} steps, {dtype}, {size_mib:,.1f} MiB\n"
        f"card      {asked.output / 'README.md'}\n"
        f"evaluate  python evaluate.py benchmark=synthetic checkpoint={asked.output}"
    )


if __name__ == "__main__":
    sys.exit(main())
