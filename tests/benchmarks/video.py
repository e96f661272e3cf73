"""How fast video becomes patches, and how long a step waits for it. `python -m tests.benchmarks.video`

From mp4 to patches: moving colours and noise, 640 x 360 at 30 frames per second, H.264 as x264 makes it by default,
read within the released budget.

- naive: decord, with as many threads as it likes, hands over all frames of a clip at once; they are resized in one go,
  normalised as floats and then put in the order of patches.
- workers N: our loader with N processes, decoding everything anew; patches are made in the main process.
- filling: the same with one worker, whose frames are also written to an empty cache.
- kept: the same with one worker and a cache that holds every clip.

All must give the same patches. Pools are started before anything is measured.

Waiting: `tests.benchmarks.waiting`. `--parts waiting` measures only that, and keeps the rest of the file.
"""

import hashlib
import json
import shutil
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import av
import decord
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from museg.data.clips import ClipLoader
from museg.data.examples import GroundingExample
from museg.data.frame_cache import frame_reader
from museg.files import sha256_of
from museg.video.budget import FrameBudget
from museg.video.decoding import Reader, read_video
from museg.video.patches import CLIP_MEAN, CLIP_STD, patchify
from museg.video.sampling import sample_indices
from tests.benchmarks.measure import benchmark_parser, comparison, interleaved, medians, results_file, write_results
from tests.benchmarks.waiting import waiting_row

BUDGET = FrameBudget()
FPS = 30
WORKERS = (1, 2, 4, 8)
OURS = "workers 2"
PARTS = ("patches", "waiting")


def made_clip(file: Path, seconds: int, width: int, height: int, seed: int) -> None:
    """Moving colours and noise, encoded with key frames as rare as x264 likes them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = np.stack([np.sin(x / 40), np.cos(y / 30), np.sin((x + y) / (50 + seed))])  # [3, H, W]
    waves, noise = (100 + 80 * waves).astype(np.uint8), rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for number in range(seconds * FPS):
            shifts = ((0, 3 * number), (2 * number, 0), (number, number))  # down and to the right, of each colour
            moved = [np.roll(wave, shift, axis=(0, 1)) for wave, shift in zip(waves, shifts, strict=True)]
            image = np.stack(moved, axis=-1) + np.roll(noise, number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def naive_patches(file: Path) -> Tensor:
    """Rows [patches, 1176] of one clip, every step for all frames at once."""
    reader = decord.VideoReader(str(file))
    num_frames = BUDGET.num_frames(len(reader), reader.get_avg_fps())
    frames = reader.get_batch(sample_indices(len(reader), num_frames).tolist()).asnumpy()
    frames = torch.from_numpy(frames).permute(0, 3, 1, 2)
    size = BUDGET.frame_size(num_frames, *frames.shape[-2:])
    resized = interpolate(frames.float(), size, mode="bicubic", antialias=True).clamp(0, 255).round()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    values = (resized / 255 - mean) / std
    blocks = values.view(-1, 2, 3, size[0] // 28, 2, 14, size[1] // 28, 2, 14)
    return blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1176)


def naive(files: Sequence[Path]) -> Iterator[Tensor]:
    """The patches of clip after clip."""
    return map(naive_patches, files)


def ours(loader: ClipLoader, files: Sequence[Path]) -> Iterator[Tensor]:
    """The patches of clip after clip, each clip a step of its own."""
    plan = [
        (number, [GroundingExample(file.name, file.name, "", (), None, "", "")]) for number, file in enumerate(files)
    ]
    for batch in loader.stream(plan):
        yield patchify(batch.clips[0].video.frames)[0]


def last_of(clips: Iterator[Tensor]) -> None:
    """Work all clips off, holding none."""
    for _ in clips:
        pass


def opened(folder: Path, num_workers: int, read: Reader) -> ClipLoader:
    """A loader that looks far enough ahead for all of its workers."""
    return ClipLoader(
        BUDGET,
        folder,
        num_workers=num_workers,
        timeout_s=600,
        steps_ahead=2 * num_workers,
        quarantine_file=folder / "quarantine.jsonl",
        read=read,
    )


def patches_row(num_clips: int, seconds: int, size: tuple[int, int], num_runs: int) -> dict[str, Any]:
    """Seconds of every side for all clips, and the frames per second that follow."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, kept, filled = Path(name), Path(name) / "kept", Path(name) / "filled"
        files = [folder / f"{number}.mp4" for number in range(num_clips)]
        for number, file in enumerate(files):
            made_clip(file, seconds, *size, seed=number)
        readers = {f"workers {number}": (number, read_video) for number in WORKERS}
        readers |= {"filling": (1, frame_reader(filled, 10)), "kept": (1, frame_reader(kept, 10))}
        loaders = {name: stack.enter_context(opened(folder, number, read)) for name, (number, read) in readers.items()}
        sides = {"naive": lambda: last_of(naive(files))}
        sides |= {
            name: partial(lambda loader: last_of(ours(loader, files)), loader) for name, loader in loaders.items()
        }
        fill = sides["filling"]
        sides["filling"] = lambda: (shutil.rmtree(filled, ignore_errors=True), fill())
        check_same(loaders, files)
        found = interleaved(sides, num_runs)
        num_frames = sum(len(read_video(file, BUDGET, "decord").frames) for file in files)
        rates = {name: num_frames / time_s for name, time_s in medians(found)["wall_s"].items()}
        values = {f"{name}, frames per second": round(rate, 1) for name, rate in rates.items()}
        values["sha256 of a file, MiB per second"] = round(hashing_mib_s(files), 1)
    shape = f"{num_clips} clips of {seconds} s, {size[0]} x {size[1]} px"
    return comparison("mp4 to patches", shape, ours=OURS, seconds=found, values=values)


def check_same(loaders: dict[str, ClipLoader], files: Sequence[Path]) -> None:
    """Stop unless every side gives the patches of the naive one, to the last bit."""
    expected = [digest_of(rows) for rows in naive(files)]
    for name, loader in loaders.items():
        if [digest_of(rows) for rows in ours(loader, files)] != expected:
            raise SystemExit(f"{name}: other patches than those of decord, bicubic resizing and the naive order")


def digest_of(rows: Tensor) -> str:
    return hashlib.sha256(rows.numpy()).hexdigest()


def hashing_mib_s(files: Sequence[Path]) -> float:
    """How fast contents are told apart, which every look into the cache costs."""
    start_s = time.perf_counter()
    for file in files:
        sha256_of(file)
    return sum(file.stat().st_size for file in files) / 2**20 / (time.perf_counter() - start_s)


def measured(options: Namespace, synthetic: Path) -> Iterator[dict[str, Any]]:
    """The rows asked for; `synthetic` is where a quick run draws its few clips."""
    if "patches" in options.parts:
        shape = (2, 2, (128, 96)) if options.quick else (8, 20, (640, 360))
        yield patches_row(*shape, options.runs)
    if "waiting" in options.parts:
        few = ("dataset.num_train_clips=64", "dataset.num_held_out_clips=16", f"dataset.root={synthetic}")
        for cache_mib in (0, 256):
            yield waiting_row(options.steps, cache_mib, *(few if options.quick else ()))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, write."""
    parser = benchmark_parser(__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--steps", type=int, default=60, help="steps of each run of train.py")
    options = parser.parse_args(arguments)
    if options.quick:
        options.runs, options.steps = 1, 4
    out = options.out or (None if options.quick else results_file("video"))
    measures = {"patches": "mp4 to patches", "waiting": "waiting for video"}
    rows = json.loads(out.read_text("utf-8"))["rows"] if out and out.exists() else []
    rows = [row for row in rows if row["measure"] not in {measures[part] for part in options.parts}]
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(options, Path(folder)):
            print(json.dumps(row), flush=True)
            rows.append(row)
            if out:
                write_results("video", rows, out)


if __name__ == "__main__":
    main()
