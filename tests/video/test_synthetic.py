import hashlib
import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from museg.data.readers import read_museg_jsonl
from museg.metrics.grounding_scores import set_iou
from museg.temporal.segments import Segment
from museg.video.budget import FrameBudget
from museg.video.decoding import read_video
from museg.video.synthetic import draw_frames, make_synthetic, settings_hash, write_mp4
from museg.video.synthetic_layout import SPLITS, Event, Kind, SyntheticSettings, clip_generator, draw_layout
from museg.video.synthetic_words import COLOURS_RGB
from tests.walks.tiny_runs import checked

SETTINGS = SyntheticSettings(num_train_clips=70, num_held_out_clips=12)
BUDGET = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=784)
STRAY_PIXELS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("synthetic") / "clips"
    make_synthetic(SETTINGS, made, num_workers=2)
    return made


@pytest.fixture(scope="module")
def hard() -> SyntheticSettings:
    """The settings of the option `dataset=synthetic_hard`."""
    dataset = checked("dataset=synthetic_hard")["dataset"]
    return SyntheticSettings(**{field.name: dataset[field.name] for field in fields(SyntheticSettings)})


def num_pixels_of(colour: str, frames: np.ndarray) -> np.ndarray:
    """How many pixels of each frame [T, 3, H, W] are nearest to `colour` among all colours and grey."""
    names = list(COLOURS_RGB)[: SETTINGS.num_colours]
    pixels = frames.astype(float).transpose(0, 2, 3, 1)
    grey = np.repeat(pixels.mean(axis=-1, keepdims=True), 3, axis=-1)
    to_grey = np.linalg.norm(pixels - grey, axis=-1)
    to_colours = np.stack([np.linalg.norm(pixels - COLOURS_RGB[name], axis=-1) for name in names])
    nearest = np.where(to_grey < to_colours.min(axis=0), -1, to_colours.argmin(axis=0))
    return (nearest == names.index(colour)).sum(axis=(1, 2))


@pytest.mark.parametrize("index", range(12))
def test_files_show_each_colour_exactly_when_its_events_are(folder, index):
    video = read_video(folder / "videos" / f"held_out_{index:05d}.mp4", BUDGET, "pyav")
    assert video.frames.shape == (24, 3, 28, 28)
    assert video.frame_times_s.tolist() == list(range(24))
    assert (video.sample_rate_fps, video.duration_s) == (1.0, 24.0)
    layout = draw_layout(SETTINGS, "held_out", clip_generator(SETTINGS, "held_out", index))
    for colour in list(COLOURS_RGB)[: SETTINGS.num_colours]:
        events = [event for event in layout.events if event.kind.colour == colour]
        shown = [any(event.start_s <= second < event.end_s for event in events) for second in range(24)]
        assert (num_pixels_of(colour, video.frames) > STRAY_PIXELS).tolist() == shown


def test_each_half_of_an_overlapping_clip_shows_its_events_exactly(hard, tmp_path):
    num_seconds_of_two = 0
    for index in range(12):
        rng = clip_generator(hard, "held_out", index)
        layout = draw_layout(hard, "held_out", rng)
        write_mp4(draw_frames(hard, layout.events, rng), hard.sample_rate_fps, tmp_path / "clip.mp4")
        frames = read_video(tmp_path / "clip.mp4", BUDGET, "pyav").frames
        assert frames.shape == (32, 3, 28, 28)
        seen = np.zeros(32, dtype=int)
        for lane, rows in enumerate([slice(0, 14), slice(14, 28)]):
            for colour in list(COLOURS_RGB)[: hard.num_colours]:
                events = [e for e in layout.events if (e.lane, e.kind.colour) == (lane, colour)]
                shown = [any(event.start_s <= second < event.end_s for event in events) for second in range(32)]
                assert (num_pixels_of(colour, frames[:, :, rows]) > STRAY_PIXELS).tolist() == shown
                seen += shown
        num_seconds_of_two += int((seen == 2).sum())
    assert num_seconds_of_two > 12  # halves do overlap


def test_hard_clips_are_crowded_close_overlapping_and_unordered(hard):
    layouts = [draw_layout(hard, "held_out", clip_generator(hard, "held_out", index)) for index in range(256)]
    solutions = [layout.questions[0].solution for layout in layouts]
    assert {len(solution) for solution in solutions} <= {2, 3, 4}  # two: of three, two came and went together
    assert np.mean([len(solution) for solution in solutions]) > 3.3
    ordered = [sorted(solution) for solution in solutions]
    waits = [b[0] - a[1] for solution in ordered for a, b in pairwise(solution)]
    assert np.mean([wait <= 2 for wait in waits]) > 0.5
    # against drawn plain clips: 0.42, none and none (the same measures over 1,000 of them)
    assert np.mean([any(b[0] < a[1] for a, b in pairwise(solution)) for solution in ordered]) > 0.35
    assert np.mean([solution != by_time for solution, by_time in zip(solutions, ordered, strict=True)]) > 0.8


def test_answers_that_ignore_the_question_are_worth_little_on_hard_clips(hard):
    whole_clip, all_visible = [], []
    for index in range(256):
        layout = draw_layout(hard, "held_out", clip_generator(hard, "held_out", index))
        targets = [Segment(*segment) for segment in layout.questions[0].solution]
        whole_clip.append(set_iou([Segment(0.0, hard.duration_s)], targets))
        all_visible.append(set_iou([Segment(event.start_s, event.end_s) for event in layout.events], targets))
    # the cold start ends at 0.6, which must mean that the question is understood
    assert np.mean(whole_clip) < 0.4 and np.mean(all_visible) < 0.5


def test_annotations_are_those_of_the_clips(folder):
    for index, example in enumerate(read_museg_jsonl(folder / "held_out.jsonl").examples):
        layout = draw_layout(SETTINGS, "held_out", clip_generator(SETTINGS, "held_out", index))
        assert example.video == f"videos/held_out_{index:05d}.mp4"
        assert example.query == layout.questions[0].problem
        assert [list(segment) for segment in example.targets] == layout.questions[0].solution
        assert (example.duration_s, example.task) == (24.0, layout.questions[0].task)


def rows(folder: Path, split: str) -> list[dict]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text().splitlines()]


def test_annotations_have_the_released_schema(folder):
    train = rows(folder, "train")
    assert [row["idx"] for row in train] == list(range(len(train)))
    assert set(train[0]) == {"idx", "problem", "solution", "video", "task", "duration"}
    report = read_museg_jsonl(folder / "train.jsonl")
    assert dict(report.kept_faults) == {}
    assert len({example.video for example in report.examples}) == 70
    assert 70 < len(report.examples) <= 140


def test_splits_share_no_clip(folder):
    train, held_out = ({row["video"] for row in rows(folder, split)} for split in ("train", "held_out"))
    assert len(held_out) == 12
    assert not train & held_out
    assert {path.name for path in (folder / "videos").iterdir()} == {Path(video).name for video in train | held_out}


def test_files_depend_on_the_settings_alone(folder, tmp_path):
    make_synthetic(replace(SETTINGS, num_train_clips=3, num_held_out_clips=2), tmp_path / "few", num_workers=1)
    for path in (tmp_path / "few" / "videos").iterdir():
        assert path.read_bytes() == (folder / "videos" / path.name).read_bytes()


def test_finished_folder_is_left_alone(folder):
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_synthetic(SETTINGS, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_folder_of_other_settings_is_refused(folder):
    with pytest.raises(ValueError, match="not made with these settings"):
        make_synthetic(replace(SETTINGS, seed=1), folder)


def test_failure_leaves_nothing_behind(tmp_path):
    def stop(num_done: int, num_all: int) -> None:
        raise RuntimeError(f"stopped at {num_done} of {num_all}")

    few = replace(SETTINGS, num_train_clips=2, num_held_out_clips=1)
    with pytest.raises(RuntimeError, match="stopped at 2 of 3"):
        make_synthetic(few, tmp_path / "clips", num_workers=1, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_the_number_of_clips(tmp_path):
    calls = []
    few = replace(SETTINGS, num_train_clips=2, num_held_out_clips=1)
    make_synthetic(few, tmp_path / "clips", num_workers=1, progress=lambda *call: calls.append(call))
    assert calls == [(2, 3), (3, 3)]


def test_plain_clips_stay_as_they_were():
    # recorded before events could overlap; options that came later must not move them, nor where they are kept
    digest = hashlib.sha256()
    for split in SPLITS:
        for index in range(20):
            rng = clip_generator(SyntheticSettings(), split, index)
            layout = draw_layout(SyntheticSettings(), split, rng)
            digest.update(repr([(question.problem, question.solution) for question in layout.questions]).encode())
            digest.update(draw_frames(SyntheticSettings(), layout.events, rng).tobytes())
    assert digest.hexdigest()[:16] == "1eda2f458d8f8e6f"
    assert settings_hash(SyntheticSettings()) == "876b9b6c75ba9786"


def test_later_settings_are_part_of_the_key_where_they_act():
    small = replace(SETTINGS, max_target_segments=2)
    keys = [settings_hash(replace(small, **later)) for later in ({}, {"max_gap_s": 2}, {"equal_kinds": True})]
    assert len(set(keys)) == 3


def test_hash_tells_settings_apart():
    assert settings_hash(SETTINGS) == settings_hash(replace(SETTINGS))
    assert settings_hash(SETTINGS) != settings_hash(replace(SETTINGS, noise_levels=1.0))


def object_masks(motion: str, settings: SyntheticSettings) -> np.ndarray:
    """Where one object is over its event of 5 s, bool [5, S, S]."""
    event = Event(Kind("red", "square", motion), 3, 8)
    frames = draw_frames(settings, (event,), np.random.default_rng(0)).astype(int)
    assert not (frames[:3, ..., 0] - frames[:3, ..., 1] > 90).any()
    assert not (frames[8:, ..., 0] - frames[8:, ..., 1] > 90).any()
    return frames[3:8, ..., 0] - frames[3:8, ..., 1] > 90


def test_motions_look_different():
    settings = SyntheticSettings(side_px=56, noise_levels=2.0, num_motions=4)
    still, drifting, blinking, growing = (
        object_masks(motion, settings) for motion in ("still", "drifting", "blinking", "growing")
    )
    area = settings.min_object_px**2
    assert all((a == b).all() for a, b in pairwise(still))
    centres = [np.argwhere(mask).mean(axis=0) for mask in drifting]
    assert all(np.linalg.norm(b - a) > 3 for a, b in pairwise(centres))
    assert all(mask.sum() >= 0.8 * area for mask in drifting)
    assert [mask.sum() < 0.9 * still[0].sum() for mask in blinking] == [False, True, False, True, False]
    assert all(b.sum() > a.sum() for a, b in pairwise(growing))
