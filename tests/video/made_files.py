"""Small video files with a known content or a known defect, made for the tests of reading."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from museg.video.synthetic import write_mp4

LEVEL_STEP = 8
"""Frame k of `numbered_frames` has brightness 16 + 8 k, far enough apart to survive compression."""

TURNED_90 = (0, 65536, 0, -65536, 0, 0)
TURNED_180 = (-65536, 0, 0, 0, -65536, 0)
TURNED_270 = (0, -65536, 0, 65536, 0, 0)
"""The first six numbers of an mp4 display matrix, 16.16 fixed point."""


def numbered_frames(num_frames: int, height: int = 32, width: int = 64) -> np.ndarray:
    """Frames uint8 [T, H, W, 3] that tell their number by their brightness (up to 29 frames)."""
    levels = 16 + LEVEL_STEP * np.arange(num_frames)
    return np.broadcast_to(levels[:, None, None, None], (num_frames, height, width, 3)).astype(np.uint8)


def numbers_of(frames: np.ndarray) -> list[int]:
    """The numbers that frames [T, 3, H, W] made by `numbered_frames` show."""
    return ((frames.mean(axis=(1, 2, 3)) - 16) / LEVEL_STEP).round().astype(int).tolist()


def numbered_mp4(path: Path, num_frames: int = 20, fps: int = 4) -> Path:
    """A readable clip of numbered frames."""
    write_mp4(numbered_frames(num_frames), fps, path)
    return path


def mp4_with_times(path: Path, times_s: list[float]) -> Path:
    """A clip whose numbered frames are shown at the given times, which need not be evenly spaced."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10"})
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        for image, time_s in zip(numbered_frames(len(times_s)), times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time_s * 10), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remuxed(source: Path, path: Path, *, earlier_s: float = 0.0, index_first: bool = False) -> Path:
    """The same pictures, shown `earlier_s` sooner (what then lies before 0 is hidden), index before or after them."""
    options = {"movflags": "faststart"} if index_first else {}
    with av.open(str(source)) as reading, av.open(str(path), "w", options=options) as writing:
        stream = reading.streams.video[0]
        copied = writing.add_stream_from_template(stream)
        shift = round(earlier_s / stream.time_base)
        for packet in reading.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = copied
                writing.mux(packet)
    return path


def with_display_matrix(source: Path, path: Path, matrix: tuple[int, ...]) -> Path:
    """The same file with another display matrix in its track header (version 0)."""
    data = bytearray(source.read_bytes())
    start = data.find(b"tkhd") + 4 + 4 + 20 + 16
    data[start : start + 24] = struct.pack(">6i", *matrix)
    path.write_bytes(data)
    return path


def with_audio(source: Path, path: Path, duration_s: float = 2.0) -> Path:
    """The pictures of `source` with an AAC tone beside them."""
    rate, block = 8000, 1024
    with av.open(str(source)) as reading, av.open(str(path), "w") as writing:
        pictures = writing.add_stream_from_template(reading.streams.video[0])
        tone = writing.add_stream("aac", rate=rate, layout="mono")
        for packet in reading.demux(reading.streams.video[0]):
            if packet.dts is not None:
                packet.stream = pictures
                writing.mux(packet)
        for start in range(0, int(duration_s * rate), block):
            wave = np.sin(0.3 * np.arange(start, start + block, dtype=np.float32))[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            writing.mux(tone.encode(frame))
        writing.mux(tone.encode(None))
    return path


def audio_only(path: Path) -> Path:
    """An mp4 file without pictures."""
    with av.open(str(path), "w") as writing:
        tone = writing.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        writing.mux(tone.encode(frame))
        writing.mux(tone.encode(None))
    return path


def with_key_frames_only(path: Path, num_frames: int, fps: int) -> Path:
    """Numbered frames, each encoded by itself."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "10", "g": "1"})
        stream.height, stream.width, stream.pix_fmt = 32, 64, "yuv420p"
        for image in numbered_frames(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def with_spoilt_frame(source: Path, path: Path, number: int) -> Path:
    """The same file with the data of frame `number` (in file order) overwritten."""
    with av.open(str(source)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    position, size = packets[number]
    data = bytearray(source.read_bytes())
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def padded(path: Path, num_bytes: int) -> bytes:
    """The file with a box at its end that says nothing, so that it has `num_bytes`."""
    content = path.read_bytes()
    free = num_bytes - len(content)
    return content + struct.pack(">I4s", free, b"free") + bytes(free - 8)
