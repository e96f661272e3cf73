"""Readers handed to a ClipLoader in place of `read_video`: they fail the way decoders do.

They stand in a module of their own because worker processes import them by name.
"""

import os
import time
from pathlib import Path

from museg.video.budget import FrameBudget
from museg.video.decoding import SampledVideo, read_video

FOREVER_S = 3600


def hangs_with_decord(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    if decoder == "decord":
        time.sleep(FOREVER_S)
    return read_video(path, budget, decoder)


def hangs_on_one_clip(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    if path.stem == "clip_1":
        time.sleep(FOREVER_S)
    return read_video(path, budget, decoder)


def dies_with_decord(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    if decoder == "decord":
        os._exit(7)
    return read_video(path, budget, decoder)


def dies_on_one_clip(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    if path.stem == "clip_1":
        os._exit(7)
    return read_video(path, budget, decoder)


def leaves_a_mark(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    """Reads as usual, and appends a line to a file beside the videos: how often each clip was asked for."""
    with (path.parent / "marks.txt").open("a") as file:
        file.write(f"{path.stem} {decoder}\n")
    return read_video(path, budget, decoder)


def leaves_a_mark_and_dies_on_one_clip(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    with (path.parent / "marks.txt").open("a") as file:
        file.write(f"{path.stem} {decoder}\n")
    return dies_on_one_clip(path, budget, decoder)


def has_a_bug(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    raise KeyError("no such thing")


def tells_and_hangs(path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
    (path.parent / "hanging_worker.txt").write_text(str(os.getpid()))
    time.sleep(FOREVER_S)
    return read_video(path, budget, decoder)
