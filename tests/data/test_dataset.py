import json
import re
from pathlib import Path

import pytest

from museg.data.dataset import (
    GroundingData,
    hold_out,
    jsonl_data,
    museg_data,
    resolve_video,
    synthetic_data,
)
from museg.data.examples import GroundingExample
from museg.policy.tiny_tokenizer import tiny_tokenizer
from museg.temporal.segments import Segment
from museg.video.synthetic_layout import SyntheticSettings

FEW = {"num_train_clips": 4, "num_held_out_clips": 2}


def example(video: str, number: int) -> GroundingExample:
    return GroundingExample(f"x:{number}", video, "q", (Segment(0.0, 1.0),), None, "tvg", "x")


def annotation(path: Path, videos: list[str]) -> str:
    rows = (
        {"idx": number, "problem": f"when {number}?", "solution": [[0, 1]], "video": video, "task": "tvg"}
        for number, video in enumerate(videos)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "data" / "videos" / "charades").mkdir(parents=True)
    for name in ("a", *range(9)):
        (tmp_path / "data" / "videos" / "charades" / f"{name}.mp4").touch()
    return tmp_path / "data"


@pytest.mark.parametrize("written", ["videos/charades/a.mp4", "charades/a.mp4"])
@pytest.mark.parametrize("base", ["", "videos"])
def test_leading_videos_is_optional_in_path_and_root(root, base, written):
    assert resolve_video(root / base, written) == root / "videos" / "charades" / "a.mp4"


def test_missing_file_stays_where_the_annotation_says(root):
    assert resolve_video(root, "videos/charades/b.mp4") == root / "videos/charades/b.mp4"
    assert resolve_video(root, "charades/b.mp4") == root / "charades/b.mp4"


@pytest.mark.parametrize("written", ["", ".", "/etc/passwd", "../a.mp4", "videos/../../a.mp4", "a\0.mp4"])
def test_paths_out_of_the_root_are_refused(root, written):
    with pytest.raises(ValueError, match="inside"):
        resolve_video(root, written)


def test_links_out_of_the_root_are_refused_and_links_within_are_not(root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.mp4").touch()
    (root / "videos" / "out").symlink_to(tmp_path / "secret")
    (root / "videos" / "in.mp4").symlink_to(root / "videos" / "charades" / "a.mp4")
    for written in ("videos/out/b.mp4", "out/b.mp4", "videos/out/missing.mp4"):
        with pytest.raises(ValueError, match="symbolic link"):
            resolve_video(root, written)
    assert resolve_video(root, "in.mp4").exists()


def test_root_may_itself_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert resolve_video(tmp_path / "link", "charades/a.mp4").exists()


def test_hold_out_takes_whole_videos_and_depends_on_the_seed_alone():
    files = [[example(f"v{number % 50}", number) for number in range(200)], [example("v1", 900), example("w", 901)]]
    kept, held_out = hold_out(files, 0.2, seed=1)
    videos_kept = {item.video for file in kept for item in file}
    videos_held_out = {item.video for item in held_out}
    assert len(videos_held_out) == 10  # 51 videos x 0.2
    assert not videos_kept & videos_held_out
    assert sum(map(len, kept)) + len(held_out) == 202
    assert hold_out(files, 0.2, seed=1) == (kept, held_out)
    assert hold_out(files, 0.2, seed=2)[1] != held_out
    assert hold_out(files, 0.0, seed=1) == (tuple(map(tuple, files)), ())
    assert len({item.video for item in hold_out(files, 0.001, seed=1)[1]}) == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ValueError, match="held_out_share"):
        hold_out([[example("v", 0)]], share, seed=0)


def arguments(root, **changed) -> dict:
    return {
        "held_out_file": None,
        "held_out_share": 0.0,
        "video_root": str(root),
        "order": "by_step",
        "seed": 0,
    } | changed


def test_both_released_files_stand_in_their_order(root, tmp_path):
    stage_1 = annotation(tmp_path / "stage_1.jsonl", ["videos/charades/a.mp4", "videos/charades/0.mp4"])
    stage_2 = annotation(tmp_path / "stage_2.jsonl", ["videos/charades/1.mp4"])
    data = museg_data(stage_1=stage_1, stage_2=stage_2, **arguments(root))
    assert [[item.example_id for item in file] for file in data.files] == [["stage_1:0", "stage_1:1"], ["stage_2:0"]]
    assert data.held_out == ()
    assert data.kept_faults == {}
    assert (data.video_root, data.order) == (root, "by_step")


def test_own_file_with_a_validation_file(root, tmp_path):
    train = annotation(tmp_path / "train.jsonl", ["charades/a.mp4"])
    held_out = annotation(tmp_path / "valid.jsonl", ["charades/0.mp4"])
    data = jsonl_data(train_file=train, **arguments(root, held_out_file=held_out))
    assert [item.example_id for item in data.held_out] == ["valid:0"]


def test_own_file_with_a_held_out_share(root, tmp_path):
    train = annotation(tmp_path / "train.jsonl", ["charades/a.mp4", *(f"charades/{n}.mp4" for n in range(9))] * 2)
    data = jsonl_data(train_file=train, **arguments(root, held_out_share=0.3, seed=5))
    assert len(data.held_out) == 6  # 3 of 10 videos, two examples each
    assert not {item.video for item in data.held_out} & {item.video for item in data.files[0]}
    assert data.num_annotated == (20,)


def test_faults_of_all_files_are_summed(root, tmp_path):
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("stage_1", "stage_2", "held_out_file")}
    solutions = {"stage_1": [[3, 3]], "stage_2": [[3, 3], [9, 2]], "held_out_file": [[5, 5]]}
    for name, file in files.items():
        row = {"idx": 0, "problem": "when?", "solution": solutions[name], "video": f"{name}.mp4", "task": "tal"}
        Path(file).write_text(json.dumps(row))
        (root / "videos" / f"{name}.mp4").touch()
    data = museg_data(**arguments(root) | files)
    assert data.kept_faults == {"zero_length_segment": 3, "reversed_segment": 1}


def test_contradictions_are_refused(root, tmp_path):
    train = annotation(tmp_path / "train.jsonl", ["charades/a.mp4", "charades/b.mp4"])
    with pytest.raises(ValueError, match="not both"):
        jsonl_data(train_file=train, **arguments(root, held_out_file=train, held_out_share=0.1))
    with pytest.raises(ValueError, match=r"2 video\(s\) .* also trained on"):
        jsonl_data(train_file=train, **arguments(root, held_out_file=train))
    with pytest.raises(ValueError, match="not a folder"):
        jsonl_data(train_file=train, **arguments(root / "nowhere"))
    with pytest.raises(ValueError, match="by_step or by_phase"):
        jsonl_data(train_file=train, **arguments(root, order="at_random"))
    empty = annotation(tmp_path / "empty.jsonl", [])
    with pytest.raises(ValueError, match="at least one example"):
        jsonl_data(train_file=empty, **arguments(root))


def test_same_clip_written_in_two_ways_is_not_both_trained_on_and_held_out(root, tmp_path):
    train = annotation(tmp_path / "train.jsonl", ["videos/charades/a.mp4"])
    held_out = annotation(tmp_path / "valid.jsonl", ["charades/a.mp4"])
    with pytest.raises(ValueError, match="also trained on"):
        jsonl_data(train_file=train, **arguments(root, held_out_file=held_out))


def test_root_without_most_of_the_videos_is_refused_before_training(root, tmp_path):
    here, absent = ["videos/charades/a.mp4", "charades/a.mp4"], ["hacs/b.mp4", "hacs/c.mp4"]
    train = annotation(tmp_path / "train.jsonl", [*here, *absent])  # the clip that is there counts once
    with pytest.raises(
        ValueError, match=r"2 of the 3 annotated videos .* first is .*/data/hacs/b\.mp4; set video_root"
    ):
        jsonl_data(train_file=train, **arguments(root))
    (root / "hacs").mkdir()
    (root / "hacs" / "c.mp4").touch()
    assert len(jsonl_data(train_file=train, **arguments(root)).files[0]) == 4
    half = annotation(tmp_path / "half.jsonl", [here[0], absent[0]])
    assert len(jsonl_data(train_file=half, **arguments(root)).files[0]) == 2


def test_synthetic_clips_are_made_once_and_found_again(tmp_path):
    data = synthetic_data(root=str(tmp_path), order="by_step", **FEW)
    assert isinstance(data, GroundingData)
    assert len(data.files) == 1
    assert {item.video for item in data.files[0]} == {f"videos/train_{n:05d}.mp4" for n in range(4)}
    assert len(data.held_out) == 2
    assert all(resolve_video(data.video_root, item.video).exists() for item in (*data.files[0], *data.held_out))
    made = sorted(path.name for path in tmp_path.iterdir())
    assert synthetic_data(root=str(tmp_path), **FEW) == data
    assert sorted(path.name for path in tmp_path.iterdir()) == made == [data.video_root.name]
    assert synthetic_data(root=str(tmp_path), **FEW, seed=1).video_root != data.video_root


def test_synthetic_events_have_captions_in_words_that_the_tokenizer_knows(tmp_path):
    data = synthetic_data(root=str(tmp_path), **FEW)
    tokenizer = tiny_tokenizer()
    for item in (*data.files[0], *data.held_out):
        colour, shape = re.fullmatch(r".*'(\w+) (\w+)'.*", item.query).groups()
        assert item.captions == (f"the {colour} {shape}",) * len(item.targets)
        assert len(tokenizer.encode(item.captions[0])) == 3
    rows = (data.video_root / "train.jsonl").read_text().splitlines()
    assert not any("captions" in json.loads(row) for row in rows)  # clips that were made before have them too


def test_unknown_synthetic_setting_is_named_with_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"num_clip; there are num_train_clips"):
        synthetic_data(root=str(tmp_path), num_clip=3)


def test_defaults_are_those_of_the_tuned_difficulty():
    settings = SyntheticSettings()
    assert (settings.num_frames, settings.sample_rate_fps, settings.side_px) == (24, 1, 28)
    assert (settings.num_colours, settings.num_shapes, settings.num_motions, settings.num_kinds) == (4, 2, 1, 3)
    assert (settings.max_target_segments, settings.max_distractors) == (3, 2)
    assert not settings.overlapping
    assert not settings.unordered
