"""Training on a folder in which half of the clips cannot be read: it goes on, and says which and why."""

import json
from pathlib import Path

import pytest

from museg.video.decoding import available_decoders
from tests.video import made_files
from tests.walks import tiny_runs

READABLE = ("good_0.mp4", "good_1.mp4", "good_2.mp4", "good_3.mp4", "with_audio.mp4", "uneven.mp4")
UNREADABLE = ("truncated.mp4", "index_first.mp4", "empty.mp4", "text.mp4", "absent.mp4", "leaves.mp4")
HELD_OUT = ("held_out.mp4", "held_out_absent.mp4")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Annotations and `videos/`, with one clip of every kind."""
    folder = tmp_path_factory.mktemp("unreadable")
    videos = folder / "videos"
    videos.mkdir()
    for number, name in enumerate((*READABLE[:4], "held_out.mp4")):
        made_files.numbered_mp4(videos / name, num_frames=10 + 2 * number, fps=2)
    made_files.with_audio(videos / "good_0.mp4", videos / "with_audio.mp4")
    made_files.mp4_with_times(videos / "uneven.mp4", [0.0, 0.1, 0.2, 0.9, 1.0, 2.4, 2.5, 4.0])
    write_unreadable(videos, outside=folder)
    write_annotations(folder / "train.jsonl", [*READABLE, *UNREADABLE])
    write_annotations(folder / "held_out.jsonl", HELD_OUT)
    return folder


def write_unreadable(videos: Path, outside: Path) -> None:
    whole = (videos / "good_1.mp4").read_bytes()
    (videos / "truncated.mp4").write_bytes(whole[: len(whole) * 2 // 3])  # the index stood at the end
    index_first = made_files.remuxed(videos / "good_1.mp4", videos / "index_first.mp4", index_first=True)
    index_first.write_bytes(index_first.read_bytes()[:-200])
    (videos / "empty.mp4").touch()
    (videos / "text.mp4").write_text("This is no video.")
    (outside / "elsewhere.mp4").write_bytes(whole)
    (videos / "leaves.mp4").symlink_to(outside / "elsewhere.mp4")


def write_annotations(file: Path, names) -> None:
    """The released schema; bare names with and without the leading `videos/` in turn."""
    rows = [
        {
            "idx": number,
            "problem": "When does 'red square' occur?",
            "solution": [[1.0, 2.0]],
            "video": f"videos/{name}" if number % 2 and "/" not in name else name,
            "task": "tvg",
            "duration": 5.0,
        }
        for number, name in enumerate(names)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def settings(folder: Path, *overrides: str) -> dict:
    return tiny_runs.checked(
        *tiny_runs.SMALL,
        "dataset=jsonl",
        f"dataset.train_file={folder}/train.jsonl",
        f"dataset.held_out_file={folder}/held_out.jsonl",
        "dataset.held_out_share=0",
        f"dataset.video_root={folder}/videos",
        f"video.frame_cache_dir={folder}/frames",
        "rollout.max_new_tokens=6",
        "validation.completions_every_steps=1",
        *overrides,
    )


def quarantined(run_dir: Path) -> dict[str, dict]:
    lines = (run_dir / "quarantine.jsonl").read_text().splitlines()
    return {Path(row["video"]).name: row for row in map(json.loads, lines)}


def trained_ids(run_dir: Path) -> dict[int, set[str]]:
    """Finished steps -> examples whose completions were sampled and learned from in the last of them."""
    ids: dict[int, set[str]] = {}
    for line in (run_dir / "completions.jsonl").read_text().splitlines():
        record = json.loads(line)
        ids.setdefault(record["step"], set()).add(record["example_id"])
    return ids


@pytest.fixture(scope="module")
def run_dir(folder, tmp_path_factory) -> Path:
    """Two passes over the twelve examples, four a step, without workers."""
    run_dir = tmp_path_factory.mktemp("run")
    tiny_runs.train(settings(folder, "cold_start=none", "phase.steps=2", "phase.total_steps=6"), run_dir)
    return run_dir


def test_training_goes_on_to_the_end(run_dir):
    summary = json.loads((run_dir / "summary.json").read_text())
    assert list(summary["held_out"]) == ["start", "timestamp", "plain"]
    assert [row["step"] for row in tiny_runs.rows(run_dir, "train")] == ["1", "2", "3", "4", "5", "6"]


def test_every_unreadable_clip_is_named_with_a_reason_for_each_decoder(run_dir):
    rows = quarantined(run_dir)
    assert set(rows) == {*UNREADABLE, "held_out_absent.mp4"}
    assert rows.pop("leaves.mp4")["reasons"].keys() == {"path"}  # no decoder was let near it
    for row in rows.values():
        assert list(row["reasons"]) == list(available_decoders())
        assert all(row["reasons"].values())
    for decoder in available_decoders():
        assert rows["absent.mp4"]["reasons"][decoder] == "no such file"
        assert rows["empty.mp4"]["reasons"][decoder] == "file is empty"
        assert "not a video container" in rows["text.mp4"]["reasons"][decoder]
    for number, name in enumerate(UNREADABLE[:5], start=len(READABLE)):
        assert rows[name]["example_ids"] == [f"train:{number}"]
    assert rows["held_out_absent.mp4"]["step"] < 0


def test_a_path_that_leaves_the_root_is_quarantined(run_dir):
    assert "leaves the video root" in quarantined(run_dir)["leaves.mp4"]["reasons"]["path"]


def test_the_readable_ones_are_all_trained_on(run_dir):
    readable = {f"train:{number}" for number in range(len(READABLE))}
    ids = trained_ids(run_dir)
    for first in (1, 4):  # three steps of four prompts are one pass
        assert set().union(*(ids.get(step, set()) for step in range(first, first + 3))) == readable


def test_the_log_counts_what_was_left_out(run_dir):
    rows, ids, num_missing = tiny_runs.rows(run_dir, "train"), trained_ids(run_dir), 1  # the held-out clip
    for row in rows:
        num_prompts = float(row["data/num_prompts"])
        assert num_prompts == len(ids.get(int(row["step"]), ()))
        num_missing += 4 - num_prompts if int(row["step"]) <= 3 else 0  # known ones are not counted again
        assert float(row["data/num_quarantined"]) == num_missing
    assert num_missing == len(UNREADABLE) + 1


def test_workers_say_the_same_and_steps_without_any_clip_pass(folder, run_dir, tmp_path):
    overrides = (
        "prompts_per_step=1",
        "phase.steps=6",
        "phase.total_steps=12",
        "video.num_workers=1",
        f"cold_start.cache_dir={tmp_path}/cold_start",
        "cold_start.batch_size=1",
        "cold_start.max_steps=12",
        "cold_start.evaluate_every_steps=12",
    )
    summary = tiny_runs.train(settings(folder, *overrides), tmp_path / "run")
    assert list(summary["held_out"]) == ["cold_start", "timestamp", "plain"]
    rows = tiny_runs.rows(tmp_path / "run", "train")
    assert [row["step"] for row in rows] == [str(step) for step in range(1, 13)]
    assert sum(float(row["data/num_prompts"]) for row in rows) == len(READABLE)
    for row in rows:
        assert (row["reward/total"] == "") == (row["data/num_prompts"] == "0.0")
    ours, theirs = quarantined(tmp_path / "run"), quarantined(run_dir)
    assert {name: row["reasons"] for name, row in ours.items()} == {
        name: row["reasons"] for name, row in theirs.items()
    }


def test_supervised_training_passes_over_them_too(folder, tmp_path):
    overrides = ("method=sft", "cold_start=none", "prompts_per_step=1", "phase.steps=6", "phase.total_steps=12")
    tiny_runs.train(settings(folder, *overrides), tmp_path)
    rows = tiny_runs.rows(tmp_path, "train")
    assert sum(float(row["data/num_prompts"]) for row in rows) == len(READABLE)
    assert quarantined(tmp_path).keys() == {*UNREADABLE, "held_out_absent.mp4"}


def test_written_paths_out_of_the_root_are_refused_with_their_lines(folder, tmp_path):
    write_annotations(tmp_path / "train.jsonl", [*READABLE, "../elsewhere.mp4", f"{folder}/elsewhere.mp4"])
    with pytest.raises(ValueError, match=r"(?s)line 7.*below the video root.*line 8"):
        tiny_runs.train(settings(folder, f"dataset.train_file={tmp_path}/train.jsonl"), tmp_path / "run")


def test_no_held_out_clip_that_can_be_read_is_said_at_once(folder, tmp_path):
    write_annotations(tmp_path / "held_out.jsonl", ["held_out_absent.mp4"])
    run_settings = settings(folder, f"dataset.held_out_file={tmp_path}/held_out.jsonl", "phase.total_steps=400")
    with pytest.raises(ValueError, match=r"none of the 1 held-out clips can be read.*quarantine\.jsonl"):
        tiny_runs.train(run_settings, tmp_path / "run")
