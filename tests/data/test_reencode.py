import os

import av
import numpy as np
import pytest

from museg.data.reencode import RECIPES, Recipe, frame_size, reencode_video, reencode_videos
from museg.video.budget import FrameBudget
from museg.video.decoding import DECODERS, read_video
from tests.video import made_files

EVERY_FRAME = FrameBudget(sample_rate_fps=30, min_pixels=784, max_pixels=3136)


def streams(path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.type for stream in container.streams]


@pytest.mark.parametrize("decoder", DECODERS)
def test_museg_copy_has_the_same_pictures_at_the_same_times_without_sound(tmp_path, decoder):
    source = made_files.with_audio(made_files.numbered_mp4(tmp_path / "silent.mp4"), tmp_path / "a.mp4")
    reencode_video(source, tmp_path / "copy" / "a.mp4", RECIPES["museg"])
    assert streams(source) == ["video", "audio"]
    assert streams(tmp_path / "copy" / "a.mp4") == ["video"]
    video = read_video(tmp_path / "copy" / "a.mp4", EVERY_FRAME, decoder)
    assert made_files.numbers_of(video.frames) == list(range(20))
    assert video.frame_times_s == pytest.approx(np.arange(20) / 4)
    assert video.duration_s == pytest.approx(5.0)


def test_times_of_a_variable_rate_stay(tmp_path):
    times_s = [0.0, 0.1, 0.2, 0.3, 4.0, 4.1, 8.0, 9.0]
    source = made_files.mp4_with_times(tmp_path / "a.mp4", times_s)
    reencode_video(source, tmp_path / "b.mp4", RECIPES["museg"])
    video = read_video(tmp_path / "b.mp4", EVERY_FRAME, "pyav")
    assert made_files.numbers_of(video.frames) == list(range(8))
    assert video.frame_times_s == pytest.approx(times_s, abs=1e-5)


@pytest.mark.parametrize("decoder", DECODERS)
def test_meco_copy_has_three_frames_a_second_and_a_short_side_of_224(tmp_path, decoder):
    source = made_files.numbered_mp4(tmp_path / "a.mp4", num_frames=20, fps=4)
    reencode_video(source, tmp_path / "b.mp4", RECIPES["meco"])
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        # 64 x 32 pixels: 224 high, twice as wide; 5 s at 3 frames a second
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (448, 224, 15, 3)
    assert read_video(tmp_path / "b.mp4", EVERY_FRAME, decoder).duration_s == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("size", "recipe", "expected"),
    [
        ((1280, 720), "meco", (398, 224)),  # 224 x 1280 / 720 = 398.2
        ((720, 1280), "meco", (224, 398)),
        ((500, 500), "meco", (224, 224)),
        ((321, 241), "museg", (320, 240)),
        ((1, 1), "museg", (2, 2)),
    ],
)
def test_sizes_of_copies(size, recipe, expected):
    assert frame_size(*size, RECIPES[recipe]) == expected


@pytest.mark.parametrize("matrix", [made_files.TURNED_90, made_files.TURNED_180, made_files.TURNED_270])
def test_pictures_of_a_turned_file_stand_upright_in_the_copy(tmp_path, matrix):
    frames = made_files.numbered_frames(4, height=28, width=56).copy()
    frames[:, :14, :28] = 255  # marks a corner
    made_files.write_mp4(frames, 1, tmp_path / "lying.mp4")
    turned = made_files.with_display_matrix(tmp_path / "lying.mp4", tmp_path / "turned.mp4", matrix)
    reencode_video(turned, tmp_path / "copy.mp4", RECIPES["museg"])
    shown, copied = (read_video(tmp_path / name, EVERY_FRAME, "pyav").frames for name in ("turned.mp4", "copy.mp4"))
    assert shown.shape == copied.shape
    assert np.abs(shown.astype(int) - copied).mean() < 2


def test_damaged_frame_is_left_out(tmp_path):
    whole = made_files.with_key_frames_only(tmp_path / "a.mp4", 8, 4)
    spoilt = made_files.with_spoilt_frame(whole, tmp_path / "b.mp4", 3)
    reencode_video(spoilt, tmp_path / "c.mp4", RECIPES["museg"])
    with av.open(str(tmp_path / "c.mp4")) as container:
        times_s = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    assert times_s == pytest.approx([0, 0.25, 0.5, 1.0, 1.25, 1.5, 1.75])  # frame 3 was due at 0.75


def test_what_is_done_is_not_done_again(tmp_path):
    jobs = []
    for name in ("a.mp4", "b.mp4"):
        made_files.numbered_mp4(tmp_path / name)
        jobs.append((tmp_path / name, tmp_path / "copies" / name))
    told = []
    assert reencode_videos(jobs, RECIPES["museg"], num_workers=1, progress=lambda *row: told.append(row)) == {}
    assert told == [("re-encoding", 1, 2), ("re-encoding", 2, 2)]
    dates = [target.stat().st_mtime_ns for _, target in jobs]
    os.utime(jobs[1][0], ns=(dates[1] + 10**9, dates[1] + 10**9))  # as if the source had been replaced
    told.clear()
    reencode_videos(jobs, RECIPES["museg"], num_workers=1, progress=lambda *row: told.append(row))
    assert told == [("re-encoding", 1, 1)]
    assert jobs[0][1].stat().st_mtime_ns == dates[0]
    assert jobs[1][1].stat().st_mtime_ns > dates[1]


def test_files_that_cannot_be_read_are_told_and_leave_nothing(tmp_path):
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(range(256)))
    made_files.audio_only(tmp_path / "sound.mp4")
    jobs = [(tmp_path / f"{name}.mp4", tmp_path / "copies" / f"{name}.mp4") for name in ("text", "noise", "sound")]
    failures = reencode_videos(jobs, Recipe(rate_fps=None, short_side_px=None), num_workers=1)
    assert set(failures) == {source for source, _ in jobs}
    assert "not a video container" in failures[tmp_path / "text.mp4"]
    assert "no video stream" in failures[tmp_path / "sound.mp4"]
    assert list((tmp_path / "copies").iterdir()) == []
