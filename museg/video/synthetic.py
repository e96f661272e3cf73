"""Labelled clips made here: objects appear on a noisy ground, written as real H.264 mp4 files with their annotations.

Shapes: T frames, S the side of a clip in pixels.
"""

import hashlib
import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import av
import numpy as np

from museg.video.synthetic_layout import SPLITS, Event, SyntheticSettings, clip_generator, draw_layout
from museg.video.synthetic_words import COLOURS_RGB

DRAWING_VERSION = 1
"""Part of the cache key: raise it when the same settings begin to give other clips."""

OVERLAPPING_VERSION = 2
"""In its place where events overlap; clips that show one object at a time stayed as they were."""

LATER_SETTINGS = {"equal_kinds": False, "max_gap_s": None}
"""Settings that came later, and the value that leaves clips as they were: with it they are no part of the cache key."""

CLIPS_PER_TASK = 64

ENCODER_OPTIONS = {"qp": "12", "preset": "ultrafast", "threads": "1"}
"""Little loss, so that colours survive the halved colour resolution of tiny frames. No look-ahead (which slower presets
have) and no rate control: with them x264 gave other bytes for the same tiny frames about once in a hundred times."""

Progress = Callable[[int, int], None]
"""Called with the number of clips written and the number of all clips."""


def settings_hash(settings: SyntheticSettings) -> str:
    """The cache key of the clips that `settings` give, 16 hexadecimal digits."""
    version = OVERLAPPING_VERSION if settings.overlapping else DRAWING_VERSION
    described = json.dumps({"drawing": version, "encoder": ENCODER_OPTIONS, **_in_force(settings)}, sort_keys=True)
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def make_synthetic(
    settings: SyntheticSettings, folder: Path, *, num_workers: int | None = None, progress: Progress | None = None
) -> None:
    """Write `folder` with videos/*.mp4, train.jsonl, held_out.jsonl (the released schema) and settings.json.

    A folder that exists is complete and is left as it is: everything is written beside it first and moved in one go.
    The content depends on `settings` alone, not on `num_workers` (processes; None: all cores). Raises ValueError when
    `folder` holds clips of other settings.
    """
    if folder.exists():
        _check_settings(settings, folder)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (unfinished / "videos").mkdir()
        _write_clips(settings, unfinished, num_workers or _num_cores(), progress)
        (unfinished / "settings.json").write_text(json.dumps(_in_force(settings), indent=2) + "\n", encoding="utf-8")
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError:
        # Another process may have finished the same clips first; then ours are not needed.
        if not (folder / "settings.json").exists():
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def draw_frames(settings: SyntheticSettings, events: tuple[Event, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw the events on noise, each within its lane, uint8 [T, S, S, 3]."""
    side, fps = settings.side_px, settings.sample_rate_fps
    lane_px = side // settings.num_lanes
    ground = rng.uniform(70, 130)
    frames = ground + rng.normal(0, settings.noise_levels, (settings.num_frames, side, side, 3))
    for event in events:
        size = int(rng.integers(settings.min_object_px, settings.max_object_px + 1))
        place = rng.uniform(0, (lane_px - size, side - size))
        heading = rng.uniform(0, 2 * np.pi)
        for frame in range(event.start_s * fps, event.end_s * fps):
            age_s = frame / fps - event.start_s
            share = age_s / (event.end_s - event.start_s)
            mask = _mask(event.kind.shape, event.kind.motion, (lane_px, side), size, place, heading, age_s, share)
            noise = rng.normal(0, settings.noise_levels / 2, (lane_px, side, 3))
            lane = frames[frame, event.lane * lane_px : (event.lane + 1) * lane_px]
            lane[mask] = (COLOURS_RGB[event.kind.colour] + noise)[mask]
    return frames.clip(0, 255).round().astype(np.uint8)


def write_mp4(frames: np.ndarray, fps: int, path: Path) -> None:
    """Encode frames uint8 [T, S, S, 3] as H.264 in an mp4 file at `fps` frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options=ENCODER_OPTIONS)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def _mask(
    shape: str,
    motion: str,
    lane_px: tuple[int, int],
    size: int,
    place: np.ndarray,
    heading: float,
    age_s: float,
    share: float,
) -> np.ndarray:
    """Where the object covers its lane (height, width), bool, `age_s` s and `share` of its event after it appeared."""
    height, width = lane_px
    if motion == "drifting":
        # Twice the side a second back and forth would alias at one frame a second; a quarter of it does not.
        path = place + age_s * width / 4 * np.array([np.sin(heading), np.cos(heading)])
        place = np.array([_reflect(path[0], height - size), _reflect(path[1], width - size)])
    elif motion == "growing":
        grown = size * (0.5 + 0.5 * share)
        place, size = place + (size - grown) / 2, grown
    y, x = np.mgrid[:height, :width] + 0.5
    dy, dx = (y - place[0]) / size, (x - place[1]) / size
    inside = (dy >= 0) & (dy < 1) & (dx >= 0) & (dx < 1)
    if shape == "circle":
        inside &= (dy - 0.5) ** 2 + (dx - 0.5) ** 2 <= 0.25
    elif shape == "triangle":
        inside &= np.abs(dx - 0.5) <= dy / 2
    if motion == "blinking" and int(age_s) % 2:
        # Every other second only the rim is left: the object blinks but never leaves the picture.
        inside &= (np.abs(dy - 0.5) > 0.25) | (np.abs(dx - 0.5) > 0.25)
    return inside


def _reflect(place: float, most: float) -> float:
    """Fold a straight path into [0, most], as if it bounced off both ends."""
    folded = place % (2 * most) if most > 0 else 0.0
    return min(folded, 2 * most - folded)


def _write_clips(settings: SyntheticSettings, folder: Path, num_workers: int, progress: Progress | None) -> None:
    numbers = {"train": settings.num_train_clips, "held_out": settings.num_held_out_clips}
    tasks = [
        (split, range(start, min(start + CLIPS_PER_TASK, numbers[split])))
        for split in SPLITS
        for start in range(0, numbers[split], CLIPS_PER_TASK)
    ]
    rows: dict[str, list[dict]] = {split: [] for split in SPLITS}
    num_done = 0
    # A fresh interpreter per worker: forking one that runs threads may deadlock.
    with ProcessPoolExecutor(num_workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        results = pool.map(partial(_make_clips, settings, folder), tasks)
        for (split, indices), made in zip(tasks, results, strict=True):
            rows[split] += made
            num_done += len(indices)
            if progress is not None:
                progress(num_done, sum(numbers.values()))
    for split in SPLITS:
        lines = (json.dumps({"idx": number, **row}) + "\n" for number, row in enumerate(rows[split]))
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _make_clips(settings: SyntheticSettings, folder: Path, task: tuple[str, range]) -> list[dict]:
    """Write the clips of one task and return their annotation rows, still without idx."""
    split, indices = task
    rows = []
    for index in indices:
        rng = clip_generator(settings, split, index)
        layout = draw_layout(settings, split, rng)
        name = f"{split}_{index:05d}.mp4"
        write_mp4(draw_frames(settings, layout.events, rng), settings.sample_rate_fps, folder / "videos" / name)
        for question in layout.questions:
            rows.append(
                {
                    "problem": question.problem,
                    "solution": question.solution,
                    "video": f"videos/{name}",
                    "duration": settings.duration_s,
                    "task": question.task,
                }
            )
    return rows


def _num_cores() -> int:
    """Cores this process may use; macOS only tells how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_settings(settings: SyntheticSettings, folder: Path) -> None:
    found = folder / "settings.json"
    if not found.exists() or json.loads(found.read_text(encoding="utf-8")) != _in_force(settings):
        raise ValueError(f"{folder} exists and was not made with these settings; give another folder or remove it")


def _in_force(settings: SyntheticSettings) -> dict[str, int | float | bool]:
    """The settings that decide about the clips."""
    return {
        name: value
        for name, value in asdict(settings).items()
        if name not in LATER_SETTINGS or value != LATER_SETTINGS[name]
    }
