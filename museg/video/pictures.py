"""Reading a picture: decoded upright in red, green and blue, and resized, it is a clip of a single frame."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from museg.video.budget import TEMPORAL_FACTOR, FrameBudget
from museg.video.decoding import SampledVideo, UnreadableVideo, available_decoders, check_file, read_video

PICTURE_DECODER = "pillow"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
"""What is opened; of a moving picture the first frame is read."""
MARKS = ((0, (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")), (8, (b"WEBP",)))
"""Offset and the bytes found there in files of these formats."""
MAX_SOURCE_PIXELS = 2**26
"""Larger pictures are refused by what their header says, before memory is taken for them: this many take 200 MB."""
WHITE = (255, 255, 255, 255)
UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation to what turns the picture upright. Pillow's own function for that also writes the EXIF data anew,
which fails where they are damaged."""
WORD_LEVELS = 257
"""A level of 0..255 stands for this many of 0..65535."""


def read_media(path: Path | str, budget: FrameBudget, decoder: str) -> SampledVideo:
    """Read a clip with "decord" or "pyav", or a picture with "pillow"; raises what `read_video` does."""
    return read_picture(path, budget) if decoder == PICTURE_DECODER else read_video(path, budget, decoder)


def decoders_of(is_picture: bool) -> tuple[str, ...]:
    """The decoders of this machine for a picture or a clip, in the order they are tried."""
    return (PICTURE_DECODER,) if is_picture else available_decoders()


def read_picture(path: Path | str, budget: FrameBudget) -> SampledVideo:
    """Read the picture at `path`, turned as its EXIF data say, on white where transparent, in the size of a frame.

    It is one frame at second 0, and no time passes: its rate is infinite. Raises UnreadableVideo for anything that
    keeps a file from being read.

    **Source:** qwen-vl-utils 0.0.10, `fetch_image` (white ground; bicubic by Pillow), which turns nothing.
    """
    path = Path(path)
    try:
        check_picture(path)
        frame = _resized(_decoded(path), budget)
    except (ValueError, OSError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        reason = str(error).partition("\n")[0][:300] or type(error).__name__
        raise UnreadableVideo(path, PICTURE_DECODER, reason) from error
    frames = np.ascontiguousarray(frame.transpose(2, 0, 1))[None]
    return SampledVideo(frames, np.zeros(1), sample_rate_fps=float("inf"), duration_s=0.0, num_source_frames=1)


def check_picture(path: Path) -> None:
    """Raise ValueError unless `path` is a regular file that begins like a picture."""
    check_file(path, MARKS, "a picture (jpg, png, webp, gif)")


def _decoded(path: Path) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sizes, which are looked at here, and EXIF data that say nothing
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            if width * height > MAX_SOURCE_PIXELS:
                raise ValueError(f"has {width} x {height} pixels, more than {MAX_SOURCE_PIXELS}")
            picture.load()
            turn = UPRIGHT_BY.get(picture.getexif().get(ExifTags.Base.Orientation))
            colours = _in_colour(picture)
            return colours if turn is None else colours.transpose(turn)


def _in_colour(picture: Image.Image) -> Image.Image:
    """As RGB: greys of 16 bits cut to 8, on white where it is transparent."""
    if picture.mode.startswith("I"):
        return Image.fromarray((np.asarray(picture) // WORD_LEVELS).astype(np.uint8)).convert("RGB")
    if "transparency" not in picture.info and picture.mode[-1] not in "aA":
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture).convert("RGB")


def _resized(picture: Image.Image, budget: FrameBudget) -> np.ndarray:
    """uint8 [H, W, 3], in the size of one of two frames: the model sees a picture as a pair of it and itself."""
    height, width = budget.frame_size(TEMPORAL_FACTOR, picture.height, picture.width)
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
