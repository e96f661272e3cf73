"""Pictures on the way that clips take: through worker processes, the caches and the quarantine."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from PIL import Image

from museg.data.disk_cache import DiskCache
from museg.data.frame_cache import CachedReader, frames_key
from museg.video.pictures import PICTURE_DECODER, read_media, read_picture
from tests.data import failing_readers
from tests.data.test_clips import BUDGET, example, loader, quarantined
from tests.video import made_files, made_pictures


def picture(name: str):
    return replace(example(name), media="image")


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    for number, name in enumerate(("0.jpg", "1.jpg", "clip_1.jpg")):
        made_pictures.written(folder / name, made_pictures.noise(60, 90, number))
    made_files.numbered_mp4(folder / "clip.mp4")
    whole = made_pictures.written(folder / "whole.png", made_pictures.noise(9, 9))
    (folder / "broken.png").write_bytes(whole.read_bytes()[:60])
    return folder


def steps_of(root, folder, asked, **changed):
    with loader(root, folder, **changed) as clips:
        return [batch.clips for batch in clips.stream(enumerate(asked))], clips.counts


@pytest.mark.parametrize("settings", [{"num_workers": 0}, {"num_workers": 1, "cache_mib": 1}], ids=["here", "workers"])
def test_a_step_may_ask_for_clips_and_pictures(root, tmp_path, settings):
    asked = [[example("clip.mp4"), picture("0.jpg"), picture("1.jpg")], [picture("0.jpg"), example("clip.mp4")]]
    steps, counts = steps_of(root, tmp_path, asked, **settings)
    assert [[clip.example for clip in step] for step in steps] == asked
    for clip in (clip for step in steps for clip in step):
        decoder = PICTURE_DECODER if clip.example.media == "image" else "pyav"
        expected = read_media(root / clip.example.video, BUDGET, decoder)
        np.testing.assert_array_equal(clip.video.frames, expected.frames)
    assert steps[0][0].video.frames.shape[0] > 1 and steps[0][1].video.frames.shape[0] == 1
    assert counts["decoded"] == 3  # in the second step both are still under way, or kept


def test_a_picture_that_cannot_be_read_is_quarantined_with_the_reason(root, tmp_path):
    (made,), counts = steps_of(root, tmp_path, [[picture("broken.png"), picture("0.jpg"), picture("clip.mp4")]])
    assert [clip.example.video for clip in made] == ["0.jpg"]
    broken, clip = quarantined(tmp_path)
    assert list(broken["reasons"]) == [PICTURE_DECODER] and "truncated" in broken["reasons"][PICTURE_DECODER]
    assert clip["reasons"] == {PICTURE_DECODER: "is not a picture (jpg, png, webp, gif)"}
    assert counts["quarantined_videos"] == 2


def test_a_picture_that_takes_too_long_is_given_up(root, tmp_path):
    hangs = {"num_workers": 1, "timeout_s": 1, "read": failing_readers.hangs_on_one_clip}
    (made,), counts = steps_of(root, tmp_path, [[picture("clip_1.jpg")]], **hangs)
    assert made == [] and counts["quarantined_videos"] == 1
    (row,) = quarantined(tmp_path)
    assert row["reasons"] == {PICTURE_DECODER: "no frames within 1 s, decoder stopped"}


def test_frames_of_a_picture_are_kept_on_disk(root, tmp_path):
    read = partial(CachedReader(DiskCache(tmp_path / "frames", 2**20)), root / "0.jpg", BUDGET, PICTURE_DECODER)
    first, again, expected = read(), read(), read_picture(root / "0.jpg", BUDGET)
    assert (first.is_from_disk, again.is_from_disk) == (False, True)
    for name in ("frames", "frame_times_s"):
        np.testing.assert_array_equal(getattr(again, name), getattr(expected, name), strict=True)
    for name in ("sample_rate_fps", "duration_s", "num_source_frames"):
        assert getattr(again, name) == getattr(expected, name)
    made_pictures.written(root / "0.jpg", made_pictures.noise(60, 90, 9))
    assert not read().is_from_disk


def test_a_moving_picture_read_as_a_clip_is_another(root, tmp_path):
    frames = [Image.fromarray(np.full((28, 28, 3), level, np.uint8)) for level in (20, 90, 160, 230)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:], duration=500)
    as_clip, as_picture = example("moving.gif"), picture("moving.gif")
    assert frames_key(root / "moving.gif", BUDGET) != frames_key(root / "moving.gif", BUDGET, is_picture=True)
    read = CachedReader(DiskCache(tmp_path / "frames", 2**20))
    for _ in range(2):  # decoded, then from disk
        (made,), _ = steps_of(root, tmp_path, [[as_clip, as_picture]], cache_mib=1, read=read)
        assert [len(clip.video.frames) for clip in made] == [4, 1]
