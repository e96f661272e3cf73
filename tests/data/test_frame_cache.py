"""Frames that come from the disk are those that decoding would give, or decoding gives them."""

import multiprocessing
import os
import signal
import subprocess
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from museg.data import frame_cache
from museg.data.clips import ClipLoader
from museg.data.disk_cache import HEAD_BYTES, DiskCache
from museg.data.frame_cache import CachedReader, frame_reader, frames_key
from museg.video.budget import FrameBudget
from museg.video.decoding import SampledVideo, UnreadableVideo, available_decoders, read_video
from museg.video.pictures import read_media
from tests.data.test_clips import example
from tests.shared import unavailable
from tests.video import made_files

BUDGET = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=3136)
DECODER = available_decoders()[0]
ROOM = 2**22


@pytest.fixture
def clip(tmp_path) -> Path:
    return made_files.numbered_mp4(tmp_path / "clip.mp4", num_frames=20, fps=4)


def reader(tmp_path: Path, max_bytes: int = ROOM) -> CachedReader:
    return CachedReader(DiskCache(tmp_path / "frames", max_bytes))


def assert_same(found: SampledVideo, expected: SampledVideo) -> None:
    np.testing.assert_array_equal(found.frames, expected.frames, strict=True)
    np.testing.assert_array_equal(found.frame_times_s, expected.frame_times_s, strict=True)
    for name in ("sample_rate_fps", "duration_s", "num_source_frames"):
        assert getattr(found, name) == getattr(expected, name)
        assert type(getattr(found, name)) is type(getattr(expected, name))


def assert_as_decoded(read: CachedReader, path: Path, *, from_disk: bool, budget: FrameBudget = BUDGET) -> None:
    video = read(path, budget, DECODER)
    assert_same(video, read_video(path, budget, DECODER))
    assert video.is_from_disk == from_disk


def test_every_part_of_a_sampled_video_survives(tmp_path, clip):
    read = reader(tmp_path)
    assert_as_decoded(read, clip, from_disk=False)
    assert_as_decoded(read, clip, from_disk=True)
    torch.as_tensor(read(clip, BUDGET, DECODER).frames)[0] = 0  # no warning that the array may not be written


def test_no_decoder_is_started_for_frames_that_are_kept(tmp_path, clip, monkeypatch):
    read = reader(tmp_path)
    expected = read(clip, BUDGET, DECODER)
    monkeypatch.setattr("museg.data.frame_cache.read_media", None)
    for decoder in ("decord", "pyav"):
        assert_same(read(clip, BUDGET, decoder), expected)


CHANGED = {
    "sample_rate_fps": 2.0,
    "min_frames": 6,
    "max_frames": 100,
    "min_pixels": 1600,
    "max_pixels": 6272,
    "total_pixels": 90_000,
    "factor": 56,
}


def test_the_key_tells_every_limit_apart(clip):
    assert CHANGED.keys() == {item.name for item in fields(FrameBudget)}
    budgets = [BUDGET, *(replace(BUDGET, **{name: value}) for name, value in CHANGED.items())]
    assert len({frames_key(clip, budget) for budget in budgets}) == len(budgets)


def test_the_key_does_not_depend_on_name_or_folder(tmp_path, clip):
    copy = tmp_path / "other" / "name.mov"
    copy.parent.mkdir()
    copy.write_bytes(clip.read_bytes())
    assert frames_key(copy, BUDGET) == frames_key(clip, BUDGET)


def test_a_library_that_decodes_is_part_of_the_key(clip, monkeypatch):
    before = frames_key(clip, BUDGET)
    monkeypatch.setattr("museg.data.frame_cache._versions", lambda: {"torch": "another"})
    assert frames_key(clip, BUDGET) != before


def test_a_video_changed_under_its_name_size_and_times_is_decoded_anew(tmp_path, clip):
    other = made_files.with_key_frames_only(tmp_path / "other.mp4", 24, 4)
    num_bytes = max(clip.stat().st_size, other.stat().st_size) + 8
    contents = {"first": made_files.padded(clip, num_bytes), "second": made_files.padded(other, num_bytes)}
    read, facts = reader(tmp_path), clip.stat()
    served = set()
    for name in ("first", "second", "first", "second"):
        with clip.open("r+b") as file:  # the same file: its number on the disk stays, too
            file.write(contents[name])
        os.utime(clip, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        state = clip.stat()
        assert (state.st_size, state.st_mtime_ns, state.st_ino) == (num_bytes, facts.st_mtime_ns, facts.st_ino)
        assert_as_decoded(read, clip, from_disk=name in served)
        served.add(name)


def test_frames_of_a_file_that_came_back_meanwhile_are_not_kept(tmp_path, clip, monkeypatch):
    other = made_files.numbered_mp4(tmp_path / "other.mp4", num_frames=12, fps=4)

    def read_another(path, budget, decoder):
        """As if it were replaced for as long as the decoder reads it."""
        clip.rename(tmp_path / "kept.mp4")
        other.rename(clip)
        video = read_video(path, budget, decoder)
        clip.rename(other)
        (tmp_path / "kept.mp4").rename(clip)
        return video

    monkeypatch.setattr("museg.data.frame_cache.read_media", read_another)
    read = reader(tmp_path)
    read(clip, BUDGET, DECODER)
    monkeypatch.undo()
    assert_as_decoded(read, clip, from_disk=False)


@pytest.mark.parametrize("is_link", [True, False])
def test_frames_from_a_folder_that_came_back_meanwhile_are_not_kept_as_others(tmp_path, is_link, monkeypatch):
    """As if the folder were another for as long as the decoder reads; the file in it stays as it is."""
    for number, num_frames in enumerate((20, 12)):
        (tmp_path / f"version_{number}").mkdir()
        made_files.numbered_mp4(tmp_path / f"version_{number}" / "clip.mp4", num_frames=num_frames, fps=4)
    clips = tmp_path / "clips"

    def put(number):
        if is_link:
            clips.unlink(missing_ok=True)
            clips.symlink_to(f"version_{number}")
        else:
            (tmp_path / f"version_{number}").rename(clips)

    def read_another(path, budget, decoder):
        if not is_link:
            clips.rename(tmp_path / "version_0")
        put(1)
        video = read_video(path, budget, decoder)
        if not is_link:
            clips.rename(tmp_path / "version_1")
        put(0)
        return video

    put(0)
    monkeypatch.setattr("museg.data.frame_cache.read_media", read_another)
    read = reader(tmp_path)
    read(clips / "clip.mp4", BUDGET, DECODER)
    monkeypatch.undo()
    assert_as_decoded(read, clips / "clip.mp4", from_disk=is_link)  # what the link led to first was read, and is kept


def test_frames_of_a_file_replaced_while_it_was_decoded_are_not_kept(tmp_path, clip, monkeypatch):
    read = reader(tmp_path)
    first = clip.read_bytes()
    other = made_files.numbered_mp4(tmp_path / "other.mp4", num_frames=12, fps=4).read_bytes()

    def replaced_then_read(path, budget, decoder):
        clip.write_bytes(other)
        return read_video(path, budget, decoder)

    monkeypatch.setattr("museg.data.frame_cache.read_media", replaced_then_read)
    assert not read(clip, BUDGET, DECODER).is_from_disk
    monkeypatch.undo()
    clip.write_bytes(first)
    assert_as_decoded(read, clip, from_disk=False)


@pytest.mark.parametrize("place", [5, HEAD_BYTES - 1, HEAD_BYTES + 40, -1])
def test_a_flipped_bit_means_decoding(tmp_path, clip, place):
    read = reader(tmp_path)
    read(clip, BUDGET, DECODER)
    (file,) = (tmp_path / "frames").iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    assert_as_decoded(read, clip, from_disk=False)
    assert_as_decoded(read, clip, from_disk=True)


@pytest.mark.parametrize(
    "payload", [b"", b"garbage", bytes(100), b"\x80\x04K\x01."], ids=["empty", "text", "zeros", "pickle"]
)
def test_a_whole_entry_that_holds_no_frames_means_decoding(tmp_path, clip, payload):
    read = reader(tmp_path)
    read.cache.put(frames_key(clip, BUDGET), payload)
    assert_as_decoded(read, clip, from_disk=False)
    assert_as_decoded(read, clip, from_disk=True)


def test_a_link_is_replaced_and_what_it_points_to_is_left(tmp_path, clip):
    read, outside = reader(tmp_path), tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / f"{frames_key(clip, BUDGET)}.entry").symlink_to(outside)
    assert_as_decoded(read, clip, from_disk=False)
    assert_as_decoded(read, clip, from_disk=True)
    assert outside.read_text() == "mine"


def test_unreadable_files_are_told_as_without_a_cache(tmp_path):
    read = reader(tmp_path)
    (tmp_path / "text.mp4").write_text("nothing to see here")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "cut.mp4").write_bytes(made_files.numbered_mp4(tmp_path / "whole.mp4").read_bytes()[:900])
    for name, reason in {
        "text": "not a video container",
        "pipe": "not a regular file",
        "cut": r"cut\.mp4",
        "absent": "no such",
    }.items():
        with pytest.raises(UnreadableVideo, match=reason):
            read(tmp_path / f"{name}.mp4", BUDGET, DECODER)
    assert not (tmp_path / "frames").exists()


def read_for_ever(tmp_path: Path, clips: list[Path], max_bytes: int) -> None:
    read = reader(tmp_path, max_bytes)
    while True:
        for clip in clips:
            read(clip, BUDGET, DECODER)


def test_killed_readers_leave_nothing_wrong(tmp_path, many):
    room = 3 * 40_000  # a few clips: entries come and go all the time
    context = multiprocessing.get_context("fork")
    for kill in range(25):
        process = context.Process(target=read_for_ever, args=(tmp_path, many, room))
        process.start()
        time.sleep(0.02 + 0.004 * kill)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert any((tmp_path / "frames").glob("*.entry")), "every kill came before the first entry; the test shows nothing"
    read = reader(tmp_path, room)
    for path in many:
        assert_same(read(path, BUDGET, DECODER), read_video(path, BUDGET, DECODER))


@pytest.fixture
def many(tmp_path) -> list[Path]:
    return [made_files.numbered_mp4(tmp_path / f"{number}.mp4", 10 + number, 4) for number in range(8)]


def sums_of(tmp_path: Path, clips: list[Path], max_bytes: int, expected: list[int], wrong) -> None:
    read = reader(tmp_path, max_bytes)
    for _ in range(15):
        found = [int(read(clip, BUDGET, DECODER).frames.sum()) for clip in clips]
        wrong.value += found != expected


def test_two_processes_share_a_folder_with_room_for_two_clips(tmp_path, many):
    context, room = multiprocessing.get_context("fork"), 60_000
    wrong = context.Value("i", 0)
    expected = [int(read_video(clip, BUDGET, DECODER).frames.sum()) for clip in many]
    processes = [
        context.Process(target=sums_of, args=(tmp_path, clips, room, sums, wrong))
        for clips, sums in ((many, expected), (many[::-1], expected[::-1]))
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert wrong.value == 0
    assert 0 < sum(file.stat().st_size for file in (tmp_path / "frames").iterdir()) <= room


STEPS = ((0, 1, 2), (3, 4), (0, 1, 2))
"""The first clips are asked again when the loader itself has forgotten them."""


def steps_of(tmp_path: Path, num_workers: int, read):
    """Frames of every step, and the loader's counts."""
    plan = [(step, [example(f"{number}.mp4") for number in numbers]) for step, numbers in enumerate(STEPS)]
    with ClipLoader(
        BUDGET,
        tmp_path,
        num_workers=num_workers,
        timeout_s=60,
        steps_ahead=0,
        quarantine_file=tmp_path / "quarantine.jsonl",
        read=read,
    ) as loader:
        return [[clip.video for clip in batch.clips] for batch in loader.stream(plan)], loader.counts


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_counts_what_was_decoded_and_what_was_kept(tmp_path, many, num_workers):
    plain, counts = steps_of(tmp_path, num_workers, read_video)
    assert (counts["decoded"], counts["from_disk"]) == (8, 0)
    kept, counts = steps_of(tmp_path, num_workers, frame_reader(tmp_path / "frames", 0.01))
    assert (counts["decoded"], counts["from_disk"]) == (5, 3)
    again, counts = steps_of(tmp_path, num_workers, frame_reader(tmp_path / "frames", 0.01))
    assert (counts["decoded"], counts["from_disk"]) == (0, 8)
    for step, others in enumerate(zip(kept, again, strict=True)):
        for side in others:
            for found, expected in zip(side, plain[step], strict=True):
                assert_same(found, expected)


def test_size_zero_is_no_cache_at_all(tmp_path):
    assert frame_reader(tmp_path, 0) is read_media


def test_a_full_disk_costs_one_line_and_no_frames(tmp_path, many, capsys):
    mount = tmp_path / "disk"
    mount.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"]
    done = subprocess.run(["mount", *options, str(mount)], capture_output=True, text=True)
    if done.returncode:
        unavailable(f"no small file system can be mounted here: {done.stderr.strip()}")
    try:
        served, counts = steps_of(tmp_path, 2, frame_reader(mount / "frames", 1))
    finally:
        subprocess.run(["umount", str(mount)], check=True)
    for numbers, step in zip(STEPS, served, strict=True):
        for number, video in zip(numbers, step, strict=True):
            assert_same(video, read_video(many[number], BUDGET, DECODER))
    assert counts["quarantined_videos"] == 0
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"warning: decoded frames cannot be kept, so each is decoded again: {mount}/frames: " in told
    assert "of the disk would stay free" in told


def test_a_file_in_place_of_the_folder_costs_one_line_and_no_frames(tmp_path, many, capsys):
    (tmp_path / "in_the_way").write_text("")
    served, counts = steps_of(tmp_path, 0, frame_reader(tmp_path / "in_the_way", 1))
    assert (counts["decoded"], counts["from_disk"], counts["quarantined_videos"]) == (8, 0, 0)
    assert [len(step) for step in served] == [3, 2, 3]
    assert capsys.readouterr().err.splitlines() == [
        f"warning: decoded frames cannot be kept, so each is decoded again: {tmp_path / 'in_the_way'}: File exists"
    ]


def test_other_code_makes_other_keys(clip, monkeypatch):
    before = frames_key(clip, BUDGET)
    assert frames_key(clip, BUDGET) == before
    monkeypatch.setattr(frame_cache, "CODE_SHA256", "of another text")
    assert frames_key(clip, BUDGET) != before
