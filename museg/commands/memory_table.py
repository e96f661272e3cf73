"""Which published model fits which trainer on how many GPUs, as a Markdown table made of estimates.

  python -m museg.commands.memory_table
  python -m museg.commands.memory_table capacity_gib=40 devices=2,4,8

capacity_gib=80       memory of one GPU; a tenth of it is left for what is not counted
devices=1,2,4,8       numbers of GPUs, one column each

A cell is the most that one GPU holds at any moment of a run (`python train.py experiment=museg_7b ... dry_run=memory`
prints its parts), in bold where that fits.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from museg.commands.key_values import key_values
from museg.config.command_line import composed_jobs
from museg.config.validation import checked_settings

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = {"3B": "museg_3b", "7B": "museg_7b"}
ADAPTER = ("model.lora.rank=16", "model.dtype=bfloat16")
ONE_GPU = {
    "`single_gpu`": ("trainer=single_gpu",),
    "`single_gpu`, adapter of rank 16": ("trainer=single_gpu", *ADAPTER),
}
SEVERAL = {
    "`ddp`": ("trainer=ddp",),
    "`ddp`, adapter of rank 16": ("trainer=ddp", *ADAPTER),
    "`zero2`": ("trainer=zero2",),
    "`zero3`": ("trainer=zero3",),
    "`fsdp`": ("trainer=fsdp",),
}
DEFAULTS = {"capacity_gib": "80", "devices": "1,2,4,8"}


def main(arguments: list[str] | None = None) -> int:
    """Print the table; exit status 2 with one line of explanation when the command line cannot be understood."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        capacity_gib, devices = understood(words)
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    print(table(capacity_gib, devices))
    return 0


def understood(words: Sequence[str]) -> tuple[float, list[int]]:
    """GiB of a GPU and numbers of GPUs. Raises ValueError for other keys and for what is no positive number."""
    given = DEFAULTS | key_values(words, DEFAULTS, example="capacity_gib=40")
    try:
        capacity_gib, devices = float(given["capacity_gib"]), [int(count) for count in given["devices"].split(",")]
    except ValueError:
        raise ValueError(f"capacity_gib={given['capacity_gib']} devices={given['devices']}: give numbers") from None
    if capacity_gib <= 0 or min(devices) < 1:
        raise ValueError("capacity_gib must be above 0, and devices 1 or more")
    return capacity_gib, devices


def table(capacity_gib: float, devices: Sequence[int]) -> str:
    """Rows of models and trainers, columns of numbers of GPUs; `-` where a trainer does not take so many."""
    head = ["model", "`trainer=`", *(f"{count} GPU{'s' * (count > 1)}" for count in devices)]
    lines = [head, ["---"] * len(head)]
    for model, experiment in MODELS.items():
        for trainers, are_several in ((ONE_GPU, False), (SEVERAL, True)):
            for trainer, overrides in trainers.items():
                asked = (f"experiment={experiment}", *overrides)
                cells = [cell(asked, n, capacity_gib) if (n > 1) == are_several else "-" for n in devices]
                if set(cells) != {"-"}:
                    lines.append([model, trainer, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(overrides: Sequence[str], num_devices: int, capacity_gib: float) -> str:
    """GiB at the moment that needs most, in bold where they fit."""
    # loads torch and transformers
    from museg.config.memory import estimate
    from museg.training.memory import peak
    from museg.training.memory_table import GIB, fits

    asked = [*overrides, f"trainer.devices={num_devices}", "dry_run=memory"]
    (job,) = composed_jobs(asked, CONF, is_multirun=False)
    _, needed = peak(estimate(checked_settings(job)).usual)
    figure = f"{needed / GIB:.0f}"
    return f"**{figure}**" if fits(needed, capacity_gib * GIB) else figure


if __name__ == "__main__":
    sys.exit(main())
