import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from museg.video.budget import FrameBudget
from museg.video.decoding import DECODERS, UnreadableVideo, available_decoders, read_video
from tests.video import made_files

BUDGET = FrameBudget(min_pixels=784, max_pixels=3136)
SLOW = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=3136)

decoders = pytest.mark.parametrize("decoder", DECODERS)


def reason_for(path, decoder) -> str:
    with pytest.raises(UnreadableVideo) as raised:
        read_video(path, BUDGET, decoder)
    assert (raised.value.path, raised.value.decoder) == (str(path), decoder)
    assert "\n" not in raised.value.reason
    return raised.value.reason


@decoders
def test_reads_the_sampled_frames_and_their_times(tmp_path, decoder):
    path = made_files.numbered_mp4(tmp_path / "clip.mp4", num_frames=20, fps=4)
    video = read_video(path, SLOW, decoder)
    # 5 s at 1 frame a second, down to 4 frames: 0, 6.33, 12.67, 19
    assert made_files.numbers_of(video.frames) == [0, 6, 13, 19]
    assert video.frames.dtype == np.uint8
    assert video.frames.shape == (4, 3, 28, 56)  # 32 x 64 to the nearest multiples of 28
    assert video.frame_times_s == pytest.approx([0, 1.5, 3.25, 4.75])
    assert video.frame_times_s.dtype == np.float64
    assert video.sample_rate_fps == pytest.approx(4 / 20 * 4)
    assert video.duration_s == pytest.approx(5.0)
    assert video.num_source_frames == 20


@decoders
def test_times_are_those_of_the_file_at_variable_rate(tmp_path, decoder):
    times_s = [0.0, 0.1, 0.2, 0.3, 4.0, 4.1, 8.0, 9.0]
    path = made_files.mp4_with_times(tmp_path / "variable.mp4", times_s)
    video = read_video(path, FrameBudget(sample_rate_fps=10, min_pixels=784, max_pixels=3136), decoder)
    assert made_files.numbers_of(video.frames) == list(range(8))
    assert video.frame_times_s == pytest.approx(times_s, abs=1e-5)


@decoders
def test_audio_beside_the_pictures_does_not_matter(tmp_path, decoder):
    silent = made_files.numbered_mp4(tmp_path / "silent.mp4")
    sounding = made_files.with_audio(silent, tmp_path / "sounding.mp4")
    first, second = read_video(silent, BUDGET, decoder), read_video(sounding, BUDGET, decoder)
    np.testing.assert_array_equal(first.frames, second.frames)
    assert first.frame_times_s == pytest.approx(second.frame_times_s)


@decoders
@pytest.mark.parametrize(
    ("matrix", "turns"), [(made_files.TURNED_90, 3), (made_files.TURNED_180, 2), (made_files.TURNED_270, 1)]
)
def test_pictures_stand_upright(tmp_path, decoder, matrix, turns):
    frames = made_files.numbered_frames(4, height=28, width=56).copy()
    frames[:, :14, :28] = 255  # marks the upper left corner
    made_files.write_mp4(frames, 1, tmp_path / "lying.mp4")
    plain = read_video(tmp_path / "lying.mp4", BUDGET, decoder)
    turned = made_files.with_display_matrix(tmp_path / "lying.mp4", tmp_path / "turned.mp4", matrix)
    # a display matrix turns clockwise by its angle; np.rot90 counts anticlockwise
    expected = np.rot90(plain.frames, k=turns, axes=(2, 3))
    np.testing.assert_array_equal(read_video(turned, BUDGET, decoder).frames, expected)


def test_hidden_frames_of_a_trimmed_file_are_not_counted(tmp_path):
    whole = made_files.numbered_mp4(tmp_path / "whole.mp4", num_frames=20, fps=4)
    trimmed = made_files.remuxed(whole, tmp_path / "trimmed.mp4", earlier_s=1.0)
    video = read_video(trimmed, SLOW, "pyav")
    # frames 4 to 19 are left, sampled at 0, 5, 10, 15 of these
    assert made_files.numbers_of(video.frames) == [4, 9, 14, 19]
    assert video.frame_times_s == pytest.approx([0, 1.25, 2.5, 3.75])
    assert video.num_source_frames == 16
    assert "not to be shown" in reason_for(trimmed, "decord")


@decoders
def test_files_that_are_no_video_are_named_as_such(tmp_path, decoder):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("a text\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(range(256)))
    (tmp_path / "folder.mp4").mkdir()
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason_for(tmp_path / "missing.mp4", decoder) == "no such file"
    assert reason_for(tmp_path / "empty.mp4", decoder) == "file is empty"
    assert "not a video container" in reason_for(tmp_path / "text.mp4", decoder)
    assert reason_for(tmp_path / "folder.mp4", decoder) == "is not a regular file"
    assert reason_for(tmp_path / "pipe.mp4", decoder) == "is not a regular file"  # opening it would wait for ever
    assert reason_for(tmp_path / "noise.mp4", decoder)
    assert "video stream" in reason_for(made_files.audio_only(tmp_path / "audio.mp4"), decoder)


@decoders
def test_play_list_does_not_reach_another_file(tmp_path, decoder):
    clip = made_files.numbered_mp4(tmp_path / "clip.mp4")
    (tmp_path / "list.mp4").write_text(f"#EXTM3U\n#EXTINF:5,\n{clip}\n#EXT-X-ENDLIST\n")
    assert "not a video container" in reason_for(tmp_path / "list.mp4", decoder)


@decoders
@pytest.mark.parametrize("index_first", [True, False])
def test_truncated_file_is_unreadable(tmp_path, decoder, index_first):
    whole = made_files.remuxed(
        made_files.numbered_mp4(tmp_path / "whole.mp4"), tmp_path / "copy.mp4", index_first=index_first
    )
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 9 // 10])
    reason = reason_for(tmp_path / "cut.mp4", decoder)
    if index_first and decoder == "pyav":
        assert "truncated" in reason
        assert "of the 20 frames" in reason


def test_damage_between_the_sampled_frames_is_passed_over(tmp_path):
    # Every frame is a key frame, so that damage stays where it is; frame 3 is spoilt, frames 0 6 13 19 are read.
    made_files.write_mp4(made_files.numbered_frames(20), 4, tmp_path / "whole.mp4")
    keyed = made_files.with_key_frames_only(tmp_path / "keyed.mp4", num_frames=20, fps=4)
    spoilt = made_files.with_spoilt_frame(keyed, tmp_path / "spoilt.mp4", number=3)
    assert made_files.numbers_of(read_video(spoilt, SLOW, "pyav").frames) == [0, 6, 13, 19]
    spoilt = made_files.with_spoilt_frame(keyed, tmp_path / "spoilt_6.mp4", number=6)
    assert reason_for_budget(spoilt, SLOW) == "frame 6 of 20 cannot be decoded"


def reason_for_budget(path, budget) -> str:
    with pytest.raises(UnreadableVideo) as raised:
        read_video(path, budget, "pyav")
    return raised.value.reason


@decoders
def test_one_frame_is_too_few(tmp_path, decoder):
    path = made_files.numbered_mp4(tmp_path / "one.mp4", num_frames=1)
    assert "at least 2" in reason_for(path, decoder)


def test_unknown_decoder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="decord, pyav"):
        read_video(tmp_path / "clip.mp4", BUDGET, "opencv")


def test_pyav_decodes_in_this_thread_alone(tmp_path):
    path = made_files.numbered_mp4(tmp_path / "clip.mp4")
    before = threading.active_count()
    read_video(path, BUDGET, "pyav")
    assert threading.active_count() == before


def test_pyav_serves_where_decord_is_absent(tmp_path):
    path = made_files.numbered_mp4(tmp_path / "clip.mp4")
    program = f"""
import sys
sys.modules["decord"] = None  # what an import finds where the package is not installed
from museg.video.budget import FrameBudget
from museg.video.decoding import UnreadableVideo, read_video
print(len(read_video({str(path)!r}, FrameBudget(), "pyav").frames))
try:
    read_video({str(path)!r}, FrameBudget(), "decord")
except UnreadableVideo as error:
    print(error.reason)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    frames, reason = done.stdout.strip().splitlines()
    assert int(frames) == 10
    assert "not installed" in reason


def test_importing_the_reader_does_not_import_decord():
    program = "import sys, museg.video.decoding; print('decord' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_decord_is_tried_first_where_it_is_installed():
    assert available_decoders()[-1] == "pyav"
    assert set(available_decoders()) <= set(DECODERS)
