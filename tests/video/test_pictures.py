import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil, smart_resize

from museg.video import pictures
from museg.video.budget import FrameBudget
from museg.video.decoding import UnreadableVideo, available_decoders, read_video
from museg.video.patches import patchify
from museg.video.pictures import decoders_of, read_media, read_picture
from tests.video import made_files, made_pictures

AS_IT_IS = FrameBudget(min_pixels=784, max_pixels=768 * 784)
"""Leaves pictures whose sides are multiples of 28 alone."""


@pytest.mark.parametrize(("name", "tolerance"), [("a.png", 0), ("a.jpg", 25), ("a.webp", 25), ("a.gif", 0)])
def test_a_picture_is_a_clip_of_one_frame(tmp_path, name, tolerance):
    path = made_pictures.written(tmp_path / name, made_pictures.two_halves())
    video = read_picture(path, AS_IT_IS)
    assert video.frames.shape == (1, 3, 56, 84) and video.frames.dtype == np.uint8
    shown = video.frames[0].transpose(1, 2, 0).astype(int)
    for place, colour in ((20, made_pictures.LEFT_RGB), (60, made_pictures.RIGHT_RGB)):
        assert np.abs(shown[28, place] - colour).max() <= tolerance
    # it shows one moment, so no time passes
    assert (video.frame_times_s.tolist(), video.duration_s, video.num_source_frames) == ([0.0], 0.0, 1)
    assert 2 / video.sample_rate_fps == 0.0


# what stands in the file is the upright picture turned the other way: 2 mirrored, 3 upside down, 4 both, 6 and 8 by 90
# degrees, 5 and 7 these mirrored (EXIF 2.32, tag Orientation)
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: np.rot90(upright, 1),
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_picture_is_turned_upright(tmp_path, name, orientation):
    upright = made_pictures.two_halves()
    upright[:28] //= 2  # dark above
    path = made_pictures.turned(tmp_path / name, np.ascontiguousarray(STORED[orientation](upright)), orientation)
    shown = read_picture(path, AS_IT_IS).frames[0].transpose(1, 2, 0)
    assert shown.shape == upright.shape
    assert np.abs(shown.astype(int) - upright).mean() < (0.01 if name == "a.png" else 6)


def test_what_is_transparent_lies_on_white(tmp_path):
    pixels = np.zeros((28, 28, 4), np.uint8)
    pixels[:, 14:, 3] = 128  # left half invisible, right half black and half transparent
    full = read_picture(made_pictures.written(tmp_path / "a.png", pixels), AS_IT_IS).frames
    assert (full[..., 0].ravel() == 255).all() and (full[..., 27].ravel() == 127).all()
    palette = Image.fromarray(made_pictures.two_halves(28, 28)).quantize(2)
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((27, 0)))
    shown = read_picture(tmp_path / "b.png", AS_IT_IS).frames[0]
    assert shown[:, 5, 5].tolist() == list(made_pictures.LEFT_RGB) and shown[:, 5, 25].tolist() == [255] * 3


def test_greys_palettes_and_print_colours_become_red_green_and_blue(tmp_path):
    levels = np.repeat(np.arange(28, dtype=np.uint8)[None] * 9, 28, axis=0)
    expected = np.repeat(levels[None], 3, axis=0)
    made_pictures.written(tmp_path / "grey.png", levels)
    made_pictures.written(tmp_path / "words.png", levels.astype(np.uint16) * 257)
    Image.fromarray(expected.transpose(1, 2, 0)).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    for name, tolerance in (("grey.png", 0), ("words.png", 0), ("print.jpg", 12)):
        assert np.abs(read_picture(tmp_path / name, AS_IT_IS).frames[0].astype(int) - expected).max() <= tolerance
    Image.fromarray(levels > 99).save(tmp_path / "bit.png")
    assert set(read_picture(tmp_path / "bit.png", AS_IT_IS).frames.ravel().tolist()) == {0, 255}


def test_of_a_moving_picture_the_first_frame_is_read(tmp_path):
    first, second = (Image.fromarray(np.full((28, 28, 3), level, np.uint8)) for level in (50, 200))
    for name in ("a.gif", "a.webp"):
        first.save(tmp_path / name, save_all=True, append_images=[second], lossless=True)
        assert np.abs(read_picture(tmp_path / name, AS_IT_IS).frames.astype(int) - 50).max() <= 1


SIZES = [(70, 130), (20, 500), (300, 31), (1, 1), (1000, 1000), (640, 480)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pixels_are_those_of_the_librarys_own_processor(tmp_path, height, width):
    budget = FrameBudget(min_pixels=4 * 784, max_pixels=60 * 784)
    path = made_pictures.written(tmp_path / "a.png", made_pictures.noise(height, width))
    patches, grid = patchify(read_picture(path, budget).frames)
    processor = Qwen2VLImageProcessorPil(min_pixels=budget.min_pixels, max_pixels=budget.max_pixels)
    theirs = processor(images=[Image.open(path)], return_tensors="pt")
    assert [list(grid)] == theirs["image_grid_thw"].tolist() and grid[0] == 1
    np.testing.assert_allclose(patches.numpy(), theirs["pixel_values"].numpy(), rtol=0, atol=2e-6)


@given(st.integers(15, 4000), st.integers(15, 4000))  # thinner ones are rounded to nothing there, to 28 px here
def test_sizes_are_those_of_the_library(height, width):
    budget = FrameBudget()  # a picture is shown like a frame: 16 to 768 tokens
    if max(height, width) > 200 * min(height, width):
        with pytest.raises(ValueError, match="200 times"):
            budget.frame_size(2, height, width)
        return
    expected = smart_resize(height, width, 28, budget.min_pixels, budget.max_pixels)
    assert budget.frame_size(2, height, width) == expected


def test_every_way_of_being_unreadable_has_a_reason(tmp_path):
    whole = made_pictures.written(tmp_path / "whole.jpg", made_pictures.noise(60, 60))
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:900])
    (tmp_path / "text.jpg").write_text("no picture at all")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.jpg").mkdir()
    # what Pillow could open, but is not asked to: PostScript is a program
    Image.fromarray(made_pictures.noise(9, 9)).save(tmp_path / "page.eps")
    made_files.numbered_mp4(tmp_path / "clip.mp4").rename(tmp_path / "clip.jpg")
    made_pictures.written(tmp_path / "line.png", made_pictures.noise(1, 300))
    for name, reason in {
        "absent.jpg": "no such file",
        "cut.jpg": "truncated",
        "text.jpg": "not a picture",
        "empty.jpg": "empty",
        "folder.jpg": "not a regular file",
        "page.eps": "not a picture",
        "clip.jpg": "not a picture",
        "line.png": "200 times",
    }.items():
        with pytest.raises(UnreadableVideo, match=reason) as raised:
            read_picture(tmp_path / name, AS_IT_IS)
        assert raised.value.decoder == "pillow"


def test_a_small_file_of_a_huge_picture_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", None)
    for width, height, reason in (
        (9000, 8000, "9000 x 8000 pixels, more than"),
        (8192, 8193, "8192 x 8193 pixels, more than"),  # one row too many
        (20000, 10000, "decompression bomb"),  # more than Pillow itself opens
    ):
        with pytest.raises(UnreadableVideo, match=reason):
            read_picture(made_pictures.of_claimed_size(tmp_path / "bomb.png", height, width), AS_IT_IS)


def test_damage_is_told_and_never_crashes(tmp_path):
    rng = np.random.default_rng(0)
    path, num_read = tmp_path / "damaged", 0
    for name in ("a.jpg", "a.png", "a.webp", "a.gif"):
        whole = made_pictures.turned(tmp_path / name, made_pictures.noise(12, 16), 6).read_bytes()
        for attempt in range(60):
            data = bytearray(whole)
            for place in rng.integers(0, 150 if attempt % 2 else len(data), 3):  # half of them in the header
                data[place] = rng.integers(256)
            path.write_bytes(data)
            try:
                num_read += read_picture(path, AS_IT_IS).frames.shape[0]
            except UnreadableVideo as error:
                assert error.reason
    assert 40 < num_read < 240


def test_the_decoder_says_whether_a_clip_or_a_picture_is_read(tmp_path):
    picture = made_pictures.written(tmp_path / "a.png", made_pictures.two_halves())
    clip = made_files.numbered_mp4(tmp_path / "a.mp4")
    assert decoders_of(True) == ("pillow",) and decoders_of(False) == available_decoders()
    assert len(read_media(picture, AS_IT_IS, "pillow").frames) == 1
    expected = read_video(clip, AS_IT_IS, "pyav").frames
    np.testing.assert_array_equal(read_media(clip, AS_IT_IS, "pyav").frames, expected)
    with pytest.raises(UnreadableVideo, match="not a video"):
        read_media(picture, AS_IT_IS, "pyav")
    with pytest.raises(ValueError, match="unknown decoder"):
        read_media(clip, AS_IT_IS, "magic")


def test_no_other_format_is_opened():
    assert set(pictures.FORMATS) == {"JPEG", "PNG", "WEBP", "GIF"}
