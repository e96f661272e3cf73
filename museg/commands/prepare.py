"""Fetch and check the data of a benchmark or of a training set.

  python -m museg.commands.prepare benchmark=thumos14
  python -m museg.commands.prepare dataset=museg root=/disk/data reencode=museg

benchmark=NAME or dataset=NAME  what is wanted
root=data                       where annotations/ and videos/ are or will be
check=true                      decode some frames of every video; false: only see whether it is there
reencode=museg|meco             make copies in videos_museg/ (pictures only) or videos_meco/ (3 fps, short side 224)
workers=N                       decoding processes; as many as there are cores unless told otherwise
dry_run=true                    only say what would be downloaded and from where

Exit status: 0 everything is there, 1 something is missing, 2 the command could not be understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import yaml
from rich.console import Console

from museg.commands.transfer_display import TransferDisplay
from museg.config.suggestions import closest
from museg.data.dataset import VIDEOS_FOLDER
from museg.data.fetching import Records, download_path, is_unpacked, needed
from museg.data.inventory import missing_videos
from museg.data.preparation import Annotated, Outcome, prepare, unfetched
from museg.data.readers import read_museg_jsonl
from museg.data.reencode import RECIPES
from museg.data.sources import Preparation, Source, preparations
from museg.evaluation.benchmarks import BenchmarkSettings, read_benchmark

CONF = Path(__file__).resolve().parents[2] / "conf"
TIMEOUT_S = 120.0
"""For one video and decoder, as in training."""
MOST_SHOWN = 10


@dataclass(frozen=True)
class Arguments:
    """The command line, understood."""

    preparation: Preparation
    root: Path = Path("data")
    check: bool = True
    reencode: str | None = None
    workers: int = 1
    dry_run: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks and print what came of it; the exit status is explained above."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or {"-h", "--help"} & set(words):
        print(__doc__)
        return 0 if words else 2
    try:
        asked = understood(words, preparations())
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    if asked.preparation.nothing_to_fetch is not None:
        print(f"{asked.preparation.kind} {asked.preparation.name}: {asked.preparation.nothing_to_fetch}")
        return 0
    read_annotations = partial(annotated, asked.preparation, asked.root)
    try:
        return _announce(asked, read_annotations) if asked.dry_run else _prepare(asked, read_annotations)
    except (ValueError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def understood(words: Sequence[str], known: dict[str, dict[str, Preparation]]) -> Arguments:
    """The arguments `key=value`. Raises ValueError with the closest valid name for one that is not known."""
    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not value:
            raise ValueError(f"{word!r} must be written key=value, for example benchmark=thumos14")
        if key in given:
            raise ValueError(f"{key} is given twice")
        given[key] = value
    kinds = [kind for kind in known if kind in given]
    options = {"root": Path, "check": _is_true, "reencode": _recipe, "workers": _count, "dry_run": _is_true}
    for key in given:
        if key not in (*known, *options):
            raise ValueError(_unknown("argument", key, [*known, *options]))
    if len(kinds) != 1:
        raise ValueError("give benchmark=NAME or dataset=NAME, one of them")
    (kind,), named = kinds, known[kinds[0]]
    if given[kind] not in named:
        raise ValueError(_unknown(kind, given[kind], list(named)))
    chosen = {"workers": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1}
    chosen |= {key: read(given[key]) for key, read in options.items() if key in given}
    return Arguments(named[given[kind]], **chosen)


def annotated(preparation: Preparation, root: Path) -> Annotated:
    """The videos that the annotation files below `root` name. Raises ValueError for files that cannot be used."""
    if preparation.kind == "dataset":
        reports = [read_museg_jsonl(place) for source in preparation.annotations for place in source.places(root)]
        videos = [example.video for report in reports for example in report.examples]
        return Annotated(tuple(dict.fromkeys(videos)), root / VIDEOS_FOLDER)
    described = yaml.safe_load((CONF / "benchmark" / f"{preparation.name}.yaml").read_text(encoding="utf-8"))
    names = {field.name for field in fields(BenchmarkSettings)}
    settings = BenchmarkSettings(**{key: value for key, value in described.items() if key in names})
    benchmark = read_benchmark(settings, root)
    return Annotated(tuple(dict.fromkeys(sample.video for sample in benchmark.samples)), benchmark.video_root)


def _prepare(asked: Arguments, read_annotations: Callable[[], Annotated]) -> int:
    with TransferDisplay() as display:
        outcome = prepare(
            asked.preparation,
            asked.root,
            read_annotations,
            reencode=asked.reencode,
            check=asked.check,
            num_workers=asked.workers,
            timeout_s=TIMEOUT_S,
            progress=display,
        )
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for line in _told(asked, outcome):
        console.print(line)
    return 0 if outcome.is_complete else 1


def _told(asked: Arguments, outcome: Outcome) -> list[str]:
    """What the user reads at the end."""
    lines = [f"not done    {failure}" for failure in outcome.failures]
    inventory = outcome.inventory
    if inventory is not None:
        num_present = inventory.num_videos - len(inventory.missing)
        state = f"{len(inventory.unreadable)} cannot be decoded" if asked.check else "not decoded (check=false)"
        lines.append(f"videos      {num_present} of {inventory.num_videos} annotated ones are there, {state}")
        shown = [f"  missing     {video}" for video in inventory.missing]
        shown += [f"  unreadable  {video}: {reason}" for video, reason in inventory.unreadable.items()]
        lines += shown[:MOST_SHOWN]
        if shown:
            lines.append(f"all of these are listed in {outcome.problems_file}")
    lines += [_by_hand(source, asked.root) for source in outcome.by_hand]
    if outcome.copies is not None:
        lines.append(f"copies      {outcome.copies}")
    lines.append("ready" if outcome.is_complete else "not ready: see above")
    return lines


def _announce(asked: Arguments, read_annotations: Callable[[], Annotated]) -> int:
    """Print what would be done, without touching disk or network; the exit status says whether anything would."""
    absent = unfetched(asked.preparation, asked.root)
    lacking: Sequence[Source] = asked.preparation.videos
    if not absent:
        there = read_annotations()
        missing = missing_videos(there.video_root, there.videos)
        print(f"{len(there.videos) - len(missing)} of {len(there.videos)} annotated videos are there")
        lacking = needed(asked.preparation.videos, [there.place(video) for video in missing], asked.root)
    records = Records(asked.root)
    for source in [*absent, *lacking]:
        if source.by_hand is not None:
            print(_by_hand(source, asked.root))
        elif source in lacking and is_unpacked(source, records):
            print(f"unpacked before, and what is missing was not in it: {source.url}")
        else:
            size = f" (about {source.listed_gb:g} GB)" if source.listed_gb else ""
            print(f"would download {source.url}{size}\n  to {download_path(source, asked.root)}\n  {source.licence}")
    print("nothing to download" if not (absent or lacking) else f"for {asked.preparation.label} in {asked.root}")
    return 1 if absent or lacking else 0


def _by_hand(source: Source, root: Path) -> str:
    return f"by hand     {root / source.to}: {source.by_hand}"


def _unknown(kind: str, name: str, valid: list[str]) -> str:
    return " ".join([f"unknown {kind} {name!r}; there are {', '.join(valid)}.", *closest(name, valid)])


def _is_true(value: str) -> bool:
    if value not in ("true", "false"):
        raise ValueError(f"check and dry_run are true or false, not {value!r}")
    return value == "true"


def _recipe(value: str) -> str:
    if value not in RECIPES:
        raise ValueError(_unknown("recipe for reencode", value, list(RECIPES)))
    return value


def _count(value: str) -> int:
    if not value.isdecimal() or not 1 <= len(value) <= 4 or int(value) < 1:
        raise ValueError(f"workers must be a whole number from 1, not {value!r}")
    return int(value)


if __name__ == "__main__":
    sys.exit(main())
