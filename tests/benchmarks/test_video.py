"""The benchmark's sides give the same patches, and one that does not is noticed."""

import json

import pytest

from museg.video.decoding import available_decoders
from tests.benchmarks import waiting
from tests.walks import tiny_runs

if "decord" not in available_decoders():
    pytest.skip("decord has no build for this machine", allow_module_level=True)

from tests.benchmarks import video


def test_all_sides_are_measured(tmp_path):
    out = tmp_path / "video.json"
    out.write_text(json.dumps({"rows": [{"measure": name} for name in ("waiting for video", "mp4 to patches")]}))
    video.main(["--quick", "--parts", "patches", "--out", str(out)])
    waited, row = json.loads(out.read_text())["rows"]
    assert waited == {"measure": "waiting for video"}  # not measured now, so kept
    sides = {"naive", "workers 1", "workers 2", "workers 4", "workers 8", "filling", "kept"}
    assert row["ratio"].keys() == row["sides"].keys() == sides
    # 2 clips of 2 s at 2 frames per second
    seconds = row["sides"]["kept"]["seconds"][0]
    assert row["values"]["kept, frames per second"] == pytest.approx(8 / seconds, rel=0.05)


def test_a_side_with_other_patches_is_noticed(tmp_path, monkeypatch):
    file = tmp_path / "clip.mp4"
    video.made_clip(file, 2, 64, 48, seed=0)
    with video.opened(tmp_path, 0, video.read_video) as loader:
        video.check_same({"ours": loader}, [file])
        flipped = lambda frames: (video.naive_patches(file).flip(0), None)  # noqa: E731
        monkeypatch.setattr(video, "patchify", flipped)
        with pytest.raises(SystemExit, match="ours: other patches"):
            video.check_same({"ours": loader}, [file])


def test_the_share_is_that_of_all_steps_together():
    rows = [{"time/wait_s": "0.3", "time/step_s": "1.0"}, {"time/wait_s": "0.1", "time/step_s": "3.0"}]
    assert waiting.waiting_of(rows) == {"share": 0.1, "longest wait, seconds": 0.3, "seconds a step": 2.0}


def test_the_runs_are_what_they_are_said_to_be(tmp_path):
    settings = tiny_runs.checked(*waiting.overrides_of(tmp_path, 60, 0))
    assert settings["video"]["frame_cache_dir"] == str(tmp_path) and settings["video"]["frame_cache_gib"] > 0
    assert (settings["phase"]["total_steps"], settings["cold_start"]["enabled"]) == (60, False)
