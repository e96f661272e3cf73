"""The two decoders, each opened as an object that knows its frames' times and decodes chosen frames.

Both count and order frames as they are presented, run in one thread and give the same bytes for the same file.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np

DECORD_CHUNK_FRAMES = 16
"""Frames decord hands over at once: large enough to be quick, small enough that full-size frames do not pile up."""


@contextmanager
def _decord_errors() -> Iterator[None]:
    """Turn decord's own error class, which derives from nothing narrower than Exception, into ValueError."""
    from decord import DECORDError

    try:
        yield
    except DECORDError as error:
        raise ValueError(str(error)) from error


class DecordVideo:
    """A clip opened by decord. Raises ValueError, RuntimeError or IndexError on files it cannot read."""

    def __init__(self, path: Path) -> None:
        # Imported here because decord has no build for some machines, where PyAV alone serves.
        import decord

        decord.logging.set_level(decord.logging.QUIET)
        with _decord_errors():
            self._reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
            self.num_frames = len(self._reader)
            self.fps = float(self._reader.get_avg_fps())
        if self.num_frames and self.frame_spans_s([0])[0, 0] < 0:
            raise ValueError("begins with frames that are not to be shown, which decord would count")

    def frame_spans_s(self, indices: Sequence[int]) -> np.ndarray:
        """Presentation start and end of the given frames, float64 [len(indices), 2], in seconds."""
        return np.asarray(self._reader.get_frame_timestamp(list(indices)), dtype=np.float64)

    def frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames with these rising numbers, each uint8 [H, W, 3]."""
        for start in range(0, len(indices), DECORD_CHUNK_FRAMES):
            with _decord_errors():
                chunk = self._reader.get_batch(list(indices[start : start + DECORD_CHUNK_FRAMES])).asnumpy()
            yield from chunk


class PyAVVideo:
    """A clip opened by PyAV. Raises `av.FFmpegError` or ValueError on files it cannot read.

    A first pass reads packets without decoding, for the frames' times and because a truncated file holds fewer than its
    header promises; the second decodes once from the start up to the last frame asked for, past damaged frames that
    nobody asked for. Seeking would not pay: frames are sampled more densely than most files have key frames.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("has no video stream")
            stream = container.streams.video[0]
            self.fps = float(stream.average_rate or 0)
            self._spans = _packet_spans(container, stream)
            self._time_base = stream.time_base
        self.num_frames = len(self._spans)

    def frame_spans_s(self, indices: Sequence[int]) -> np.ndarray:
        """Presentation start and end of the given frames, float64 [len(indices), 2], in seconds."""
        return np.array([[float(tick * self._time_base) for tick in self._spans[i]] for i in indices])

    def frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """The frames with these rising numbers, each uint8 [H, W, 3]."""
        # Frames are recognised by their time, not counted: a decoder may drop a damaged frame without a word.
        wanted = [self._spans[i][0] for i in indices]
        with av.open(str(self._path)) as container:
            num_found = 0
            for frame in _decodable(container):
                while num_found < len(wanted) and frame.pts == wanted[num_found]:
                    yield _upright_rgb(frame)
                    num_found += 1
                if num_found == len(wanted):
                    return
        raise ValueError(f"frame {indices[num_found]} of {self.num_frames} cannot be decoded")


def _packet_spans(container, stream) -> list[tuple[int, int]]:
    """Start and end of every frame to be shown, in ticks of the stream, in the order of presentation."""
    spans, num_packets = [], 0
    for packet in container.demux(stream):
        if not packet.size or packet.is_corrupt:
            continue
        num_packets += 1
        if packet.is_discard:
            continue
        if packet.pts is None:
            raise ValueError("has frames without a presentation time; remux it with ffmpeg -c copy")
        spans.append((packet.pts, packet.pts + (packet.duration or 0)))
    if num_packets < stream.frames:
        raise ValueError(f"is truncated: holds {num_packets} of the {stream.frames} frames its header promises")
    return sorted(spans)


def _decodable(container) -> Iterator[av.VideoFrame]:
    """The frames of the first video stream in the order of presentation, without those that are damaged."""
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _upright_rgb(frame: av.VideoFrame) -> np.ndarray:
    """The frame as uint8 [H, W, 3], turned the way its file says it is to be shown."""
    return np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90 % 4)
