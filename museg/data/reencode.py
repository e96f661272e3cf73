"""Smaller or plainer copies of videos, as the authors of MUSEG and of MeCo recommend them: pictures without sound.

**Source:** THUNLP-MT/MUSEG 889565e, data/eval/et_bench/process_videos.py; pangzss/MeCo 1885e32,
tools/compress_videos.py (both leave the encoder at the defaults of ffmpeg: H.264, quality 23, preset medium).
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError as EncodingTimeout
from concurrent.futures import as_completed
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.filter import Graph
from pebble import ProcessExpired, ProcessPool

from museg.data.download import Progress
from museg.video.decoding import check_container

ENCODER_OPTIONS = {"crf": "23", "preset": "medium", "threads": "1"}
TIMEOUT_S = 3600.0
"""For one video; an hour of film takes minutes."""

UPRIGHT = {0: (), 1: (("transpose", "cclock"),), 2: (("hflip", None), ("vflip", None)), 3: (("transpose", "clock"),)}
"""Quarter turns against the clock that a file asks for -> the filters that turn its pictures."""


@dataclass(frozen=True)
class Recipe:
    """How a copy is made; None leaves what the file has."""

    rate_fps: int | None
    short_side_px: int | None


RECIPES = {"museg": Recipe(rate_fps=None, short_side_px=None), "meco": Recipe(rate_fps=3, short_side_px=224)}


def frame_size(width_px: int, height_px: int, recipe: Recipe) -> tuple[int, int]:
    """Width and height of the copy, even, with the shape of the pictures kept.

    MeCo's script multiplies the height of upright pictures by their shape where it should divide, which squashes them;
    that is not reproduced.
    """
    if recipe.short_side_px is None:
        return max(2, width_px // 2 * 2), max(2, height_px // 2 * 2)
    long_side_px = recipe.short_side_px * max(width_px, height_px) // min(width_px, height_px) // 2 * 2
    short_first = (recipe.short_side_px, long_side_px)
    return short_first[::-1] if width_px > height_px else short_first


def reencode_video(source: Path, target: Path, recipe: Recipe) -> None:
    """Write the copy of `source` as an mp4 file whatever `target` is called; it gets its name when it is complete.

    Raises `av.FFmpegError` or ValueError for a file without readable pictures. Single damaged frames are left out.
    """
    check_container(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with av.open(str(source)) as reading, av.open(str(unfinished), "w", format="mp4") as writing:
            _encode(reading, writing, recipe)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def reencode_videos(
    jobs: Sequence[tuple[Path, Path]], recipe: Recipe, *, num_workers: int, progress: Progress | None = None
) -> dict[Path, str]:
    """Make the copies of `jobs` (source, target) that are not there yet or older than their source, in processes that
    may hang or die; returns why some could not be made, by source.
    """
    jobs = [(source, target) for source, target in jobs if not _is_done(source, target)]
    failures = {}
    context = multiprocessing.get_context("forkserver")
    with ProcessPool(num_workers, context=context) as pool:
        source_of = {
            pool.schedule(reencode_video, args=(source, target, recipe), timeout=TIMEOUT_S): source
            for source, target in jobs
        }
        for num_done, future in enumerate(as_completed(source_of), start=1):
            if reason := _failure(future):
                failures[source_of[future]] = reason
            if progress is not None:
                progress("re-encoding", num_done, len(jobs))
    return failures


def _is_done(source: Path, target: Path) -> bool:
    return target.exists() and target.stat().st_mtime_ns >= source.stat().st_mtime_ns


def _failure(future) -> str | None:
    try:
        future.result()
    except EncodingTimeout:
        return f"not done within {TIMEOUT_S:g} s"
    except ProcessExpired as error:
        return f"encoder process died (exit code {error.exitcode})"
    except (ValueError, OSError, av.FFmpegError) as error:
        return str(error)
    return None


def _encode(reading, writing, recipe: Recipe) -> None:
    stream = reading.streams.video[0] if reading.streams.video else None
    if stream is None:
        raise ValueError("has no video stream")
    copied = None
    for frame in _filtered(_decodable(reading, stream), stream, recipe):
        if copied is None:
            copied = writing.add_stream("libx264", rate=recipe.rate_fps or stream.average_rate, options=ENCODER_OPTIONS)
            copied.width, copied.height, copied.pix_fmt = frame.width, frame.height, "yuv420p"
            copied.codec_context.time_base = frame.time_base
        writing.mux(copied.encode(frame))
    if copied is None:
        raise ValueError("no frame can be decoded")
    writing.mux(copied.encode(None))


def _decodable(reading, stream) -> Iterator[av.VideoFrame]:
    """The frames from the start of the file, their times counted from there, without those that are damaged."""
    start = round(Fraction(reading.start_time or 0, av.time_base) / stream.time_base)
    stream.codec_context.thread_count = 1
    for packet in reading.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            if frame.pts is None:
                raise ValueError("has frames without a presentation time")
            frame.pts, frame.time_base = frame.pts - start, stream.time_base
            yield frame


def _filtered(frames: Iterator[av.VideoFrame], stream, recipe: Recipe) -> Iterator[av.VideoFrame]:
    """The frames turned upright, at the rate and size of the recipe."""
    graph = None
    for frame in frames:
        graph = graph or _graph(frame, recipe)
        graph.push(frame)
        yield from _pulled(graph)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph)


def _graph(frame: av.VideoFrame, recipe: Recipe) -> Graph:
    num_turns = frame.rotation // 90 % 4
    width_px, height_px = (frame.height, frame.width) if num_turns % 2 else (frame.width, frame.height)
    graph = Graph()
    rate = [("fps", str(recipe.rate_fps))] if recipe.rate_fps else []
    scale = ("scale", "{}:{}".format(*frame_size(width_px, height_px, recipe)))
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base
    )
    filters = [*rate, *UPRIGHT[num_turns], scale, ("setsar", "1"), ("format", "yuv420p"), ("buffersink", None)]
    graph.link_nodes(source, *(graph.add(name, options) for name, options in filters)).configure()
    return graph


def _pulled(graph: Graph) -> Iterator[av.VideoFrame]:
    while True:
        try:
            yield graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
