"""Seven recorded files as in training and in evaluation, by both decoders: the same frames, sizes and values."""

import json
from functools import cache

import numpy as np
import pytest

from museg.video.budget import FrameBudget
from museg.video.decoding import DECODERS, read_video
from museg.video.patches import MERGE_SIZE, TEMPORAL_PATCH_SIZE, patchify
from museg.video.sampling import sample_indices
from tests.shared import ORACLES, require

BUDGETS = {"train": FrameBudget(), "eval": FrameBudget(max_frames=None)}
FILES = (
    "v1_64x48_10fps_3s.mp4",
    "v2_320x240_24fps_12s.mp4",
    "v3_480x854_30fps_8s.mp4",
    "v4_320x240_29.97fps_40s.mp4",
    "v5_426x240_vfr_15s.mp4",
    "v6_640x360_24fps_20s_audio.mp4",
    "v7_64x48_4fps_240s.mp4",
)
BAR_BITS = 12
BAR_ROWS = 24  # the bar is at least this fraction of the height


@cache
def oracle() -> dict:
    return json.loads(require(ORACLES / "video_preprocess.json").read_text())


def frame_number_drawn_on(frame: np.ndarray) -> int:
    """The bar at the bottom shows the frame's number, lowest bit left, light cells for ones."""
    height, width = frame.shape[:2]
    row = frame[height - max(1, height // BAR_ROWS)].mean(axis=-1)
    cell = width // BAR_BITS
    return sum(int(row[bit * cell + cell // 2] > 128) << bit for bit in range(BAR_BITS))


def test_every_recorded_file_is_covered():
    assert set(oracle()["videos"]) == set(FILES)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("file", FILES)
def test_decoded_frames_are_the_recorded_ones(file, decoder):
    for mode, record in oracle()["videos"][file].items():
        video = DECODERS[decoder](require(ORACLES / "videos" / file))
        assert (video.num_frames, video.fps) == (record["total_frames"], record["video_fps"])
        num_frames = BUDGETS[mode].num_frames(video.num_frames, video.fps)
        indices = sample_indices(video.num_frames, num_frames).tolist()
        assert indices == record["frame_indices"]
        frames = list(video.frames(indices))
        assert [frame_number_drawn_on(frame) for frame in frames] == indices
        assert frames[0].shape == (record["source_height"], record["source_width"], 3)
        raw = record["raw_frames"]
        assert [float(frame.mean()) for frame in frames] == pytest.approx(raw["frame_means"], abs=1e-9)
        assert float(np.std(np.stack(frames), ddof=1, dtype=np.float64)) == pytest.approx(raw["std"], abs=1e-6)


@pytest.mark.parametrize("file", FILES)
def test_both_decoders_give_the_same_bytes_and_times(file):
    path = require(ORACLES / "videos" / file)
    first, second = (read_video(path, BUDGETS["train"], decoder) for decoder in ("decord", "pyav"))
    np.testing.assert_array_equal(first.frames, second.frames)
    # decord keeps times in float32: 240 s are then told to 1.5e-5 s
    np.testing.assert_allclose(first.frame_times_s, second.frame_times_s, atol=2e-5)
    assert first.duration_s == pytest.approx(second.duration_s, abs=2e-5)
    container = oracle()["container"][file]
    assert second.frame_times_s[-1] == pytest.approx(container["pts_last_s"], abs=1e-9)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("mode", BUDGETS)
@pytest.mark.parametrize("file", FILES)
def test_resized_frames_and_patches_are_the_recorded_ones(file, mode, decoder):
    record = oracle()["videos"][file][mode]
    video = read_video(require(ORACLES / "videos" / file), BUDGETS[mode], decoder)
    assert len(video.frames) == record["nframes"]
    assert video.sample_rate_fps == record["sample_fps"]
    assert video.frames.shape[-2:] == (record["resized_height"], record["resized_width"])
    pixel_values, grid_thw = patchify(video.frames)
    assert list(grid_thw) == record["video_grid_thw"][0]
    assert np.prod(grid_thw) // MERGE_SIZE**2 == record["n_video_tokens"]
    # 5.23 keeps this as float32, 4.50.0 as float64
    second_per_grid_ts = TEMPORAL_PATCH_SIZE / video.sample_rate_fps
    assert second_per_grid_ts == pytest.approx(record["second_per_grid_ts"][0], rel=1e-7)
    assert second_per_grid_ts == pytest.approx(record["official_pins"]["second_per_grid_ts"][0], rel=1e-12)
    assert_samples_match(video.frames, record["resized_frames"], tolerance=0)
    assert_samples_match(pixel_values.numpy(), record["pixel_values_videos"], tolerance=1e-3)


def assert_samples_match(values: np.ndarray, recorded: dict, tolerance: float) -> None:
    assert list(values.shape) == recorded["shape"]
    samples = values.reshape(-1)[recorded["flat_indices"]].astype(np.float64)
    np.testing.assert_allclose(samples, recorded["values"], atol=tolerance, rtol=0)
    assert float(values.mean(dtype=np.float64)) == pytest.approx(recorded["mean"], abs=1e-5)
    assert float(values.std(ddof=1, dtype=np.float64)) == pytest.approx(recorded["std"], abs=1e-5)
