"""Fetch and check the data of a benchmark or of a training set.

  python -m museg.commands.prepare benchmark=thumos14
  python -m museg.commands.prepare dataset=museg root=/disk/data reencode=museg

benchmark=NAME or dataset=NAME  what is wanted
root=data                       where annotations/ and videos/ are or will be
check=true                      decode some frames of every video; false: only see whether it is there
reencode=museg|meco             make copies in videos_museg/ (pictures only) or videos_meco/ (3 fps, short side 224)
workers=N                       decoding processes; as many as there are cores unless told otherwise
dry_run=true                    only say what would be downloaded and from where

Exit status: 0 everything is there, 1 something is missing, 2 the command could not be understood, 130 stopped.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from museg.commands.key_values import is_true, key_values, unknown
from museg.data.sources import Preparation, preparations


@dataclass(frozen=True)
class Arguments:
    """The command line, understood."""

    preparation: Preparation
    root: Path = Path("data")
    check: bool = True
    reencode: str | None = None
    workers: int = 1
    dry_run: bool = False


def main(arguments: list[str] | None = None, known: Mapping[str, Mapping[str, Preparation]] | None = None) -> int:
    """Do what the command line asks and print what came of it; the exit status is explained above.

    `known` is what can be prepared; None: what sources.yaml describes.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if not words or {"-h", "--help"} & set(words):
        print(__doc__)
        return 0 if words else 2
    try:
        asked = understood(words, known or preparations())
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    if asked.preparation.nothing_to_fetch is not None:
        print(f"{asked.preparation.kind} {asked.preparation.name}: {asked.preparation.nothing_to_fetch}")
        return 0
    # Loads torch and the decoders, so only now, with nothing left to complain about.
    from museg.commands.prepare_data import announce, carry_out

    try:
        return announce(asked.preparation, asked.root) if asked.dry_run else carry_out(asked)
    except (ValueError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def understood(words: Sequence[str], known: Mapping[str, Mapping[str, Preparation]]) -> Arguments:
    """The arguments `key=value`. Raises ValueError with the closest valid name for one that is not known."""
    options = {
        "root": Path,
        "check": partial(is_true, "check"),
        "reencode": _recipe,
        "workers": _count,
        "dry_run": partial(is_true, "dry_run"),
    }
    given = key_values(words, [*known, *options], example="benchmark=thumos14")
    kind, *others = [kind for kind in known if kind in given] or [None]
    if kind is None or others:
        raise ValueError("give benchmark=NAME or dataset=NAME, one of them")
    if given[kind] not in known[kind]:
        raise ValueError(unknown(kind, given[kind], list(known[kind])))
    chosen = {"workers": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    chosen |= {key: read(given[key]) for key, read in options.items() if key in given}
    return Arguments(known[kind][given[kind]], **chosen)


def _recipe(value: str) -> str:
    from museg.data.reencode import RECIPES  # loads the encoder

    if value not in RECIPES:
        raise ValueError(unknown("recipe for reencode", value, list(RECIPES)))
    return value


def _count(value: str) -> int:
    if not value.isdecimal() or not 1 <= len(value) <= 4 or int(value) < 1:
        raise ValueError(f"workers must be a whole number from 1, not {value!r}")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
