"""What `museg.commands.prepare` does once its arguments are understood, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from rich.console import Console

from museg.commands.transfer_display import TransferDisplay
from museg.data.dataset import VIDEOS_FOLDER
from museg.data.fetching import DOWNLOADS, Records, download_path, is_unpacked, needed
from museg.data.inventory import missing_videos
from museg.data.preparation import Annotated, Outcome, prepare, unfetched
from museg.data.readers import read_museg_jsonl
from museg.data.sources import Preparation, Source
from museg.evaluation.benchmarks import BenchmarkSettings, read_benchmark

if TYPE_CHECKING:
    from museg.commands.prepare import Arguments

CONF = Path(__file__).resolve().parents[2] / "conf"
TIMEOUT_S = 120.0
"""For one video and decoder, as in training."""
MOST_SHOWN = 10


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


def carry_out(asked: Arguments) -> int:
    """Fetch and check, and print what came of it; returns the exit status."""
    with TransferDisplay() as display:
        outcome = prepare(
            asked.preparation,
            asked.root,
            partial(annotated, asked.preparation, asked.root),
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
    if outcome.is_complete and (asked.root / DOWNLOADS).exists():
        lines.append(f"archives    {asked.root / DOWNLOADS} may be deleted; what was unpacked stays on record")
    lines.append("ready" if outcome.is_complete else "not ready: see above")
    return lines


def announce(preparation: Preparation, root: Path) -> int:
    """Print what would be done, without touching disk or network; the exit status says whether anything would."""
    absent = unfetched(preparation, root)
    lacking: Sequence[Source] = preparation.videos
    if not absent:
        there = annotated(preparation, root)
        missing = missing_videos(there.video_root, there.videos)
        print(f"{len(there.videos) - len(missing)} of {len(there.videos)} annotated videos are there")
        lacking = needed(preparation.videos, [there.place(video) for video in missing], root)
    records = Records(root)
    for source in [*absent, *lacking]:
        if source.by_hand is not None:
            print(_by_hand(source, root))
        elif source in lacking and is_unpacked(source, records):
            print(f"unpacked before, and what is missing was not in it: {source.url}")
        else:
            size = f" (about {source.listed_gb:g} GB)" if source.listed_gb else ""
            print(f"would download {source.url}{size}\n  to {download_path(source, root)}\n  {source.licence}")
    print("nothing to download" if not (absent or lacking) else f"for {preparation.label} in {root}")
    return 1 if absent or lacking else 0


def _by_hand(source: Source, root: Path) -> str:
    return f"by hand     {root / source.to}: {source.by_hand}"
