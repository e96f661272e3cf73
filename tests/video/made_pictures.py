"""Small picture files with a known content, made for the tests of reading."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

LEFT_RGB, RIGHT_RGB = (200, 40, 40), (40, 60, 200)


def two_halves(height: int = 56, width: int = 84) -> np.ndarray:
    """Red on the left, blue on the right: uint8 [H, W, 3]."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[:, : width // 2], pixels[:, width // 2 :] = LEFT_RGB, RIGHT_RGB
    return pixels


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Random pixels uint8 [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def written(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """The pixels as a file of the kind that its name says."""
    Image.fromarray(pixels).save(path, **options)
    return path


def turned(path: Path, pixels: np.ndarray, orientation: int) -> Path:
    """A file that asks to be shown turned, by the EXIF orientation 1 to 8."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return written(path, pixels, exif=exif)


def of_claimed_size(path: Path, height: int, width: int) -> Path:
    """A PNG file whose header promises a picture of that size; it holds a single pixel."""
    data = bytearray(written(path, noise(1, 1)).read_bytes())
    data[16:24] = struct.pack(">2I", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    path.write_bytes(data)
    return path
