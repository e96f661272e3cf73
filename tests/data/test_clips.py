import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from museg.data.clips import ClipLoader
from museg.data.examples import GroundingExample
from museg.temporal.segments import Segment
from museg.video.budget import FrameBudget
from museg.video.decoding import available_decoders, read_video
from tests.data import failing_readers
from tests.video import made_files

BUDGET = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=3136)
NUM_CLIPS = 6
REPOSITORY = Path(__file__).resolve().parents[2]

needs_two_decoders = pytest.mark.skipif(len(available_decoders()) < 2, reason="decord has no build for this machine")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(NUM_CLIPS):
        made_files.numbered_mp4(folder / f"clip_{number}.mp4", num_frames=8 + 2 * number, fps=2)
    return folder


def example(video: str, number: int = 0) -> GroundingExample:
    return GroundingExample(f"made:{video}:{number}", video, "When?", (Segment(0.0, 1.0),), None, "tvg", "made")


def plan(*steps: list[int]) -> list[tuple[int, list[GroundingExample]]]:
    return [(step, [example(f"clip_{clip}.mp4", step) for clip in clips]) for step, clips in enumerate(steps)]


def loader(root: Path, folder: Path, **changed) -> ClipLoader:
    settings = {"num_workers": 0, "timeout_s": 60, "steps_ahead": 2, "quarantine_file": folder / "quarantine.jsonl"}
    return ClipLoader(BUDGET, root, **{**settings, **changed})


def quarantined(folder: Path) -> list[dict]:
    file = folder / "quarantine.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def summary(batches) -> list:
    return [
        (
            batch.global_step,
            batch.num_asked,
            [(c.example.example_id, c.position, c.video.frames.sum()) for c in batch.clips],
        )
        for batch in batches
    ]


def test_steps_arrive_in_order_whatever_the_number_of_workers(root, tmp_path):
    steps = plan([0, 1, 2], [3, 0, 0], [4, 5, 1], [], [2, 2, 2])
    results = []
    for number, settings in enumerate(
        ({"num_workers": 0}, {"num_workers": 1, "steps_ahead": 0}, {"num_workers": 2, "steps_ahead": 3, "cache_mib": 1})
    ):
        with loader(root, tmp_path / str(number), **settings) as clips:
            results.append(summary(clips.stream(steps)))
    assert [step for step, *_ in results[0]] == [0, 1, 2, 3, 4]
    assert [num_asked for _, num_asked, _ in results[0]] == [3, 3, 3, 0, 3]
    assert [position for _, position, _ in results[0][0][2]] == [0, 1, 2]
    assert results[0] == results[1] == results[2]


def test_a_video_changed_under_its_name_is_decoded_anew(tmp_path):
    file = made_files.numbered_mp4(tmp_path / "clip_0.mp4", num_frames=8, fps=2)
    longer = made_files.numbered_mp4(tmp_path / "longer.mp4", num_frames=16, fps=2)
    num_bytes = longer.stat().st_size + 8
    contents = [made_files.padded(path, num_bytes) for path in (file, longer)]
    file.write_bytes(contents[0])
    facts, lengths = file.stat(), []
    with loader(tmp_path, tmp_path, cache_mib=1, steps_ahead=0) as clips:
        for batch in clips.stream(plan([0], [0], [0], [0])):
            lengths.append(len(batch.clips[0].video.frames))
            if batch.global_step == 1:
                with file.open("r+b") as opened:  # the same file of the same size, and as old
                    opened.write(contents[1])
                os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert clips.counts["decoded"] == 2
    assert lengths == [4, 4, 8, 8]  # of 4 s, then 8 s, at one frame a second


def test_frames_of_what_came_in_between_are_not_kept(tmp_path):
    file = made_files.numbered_mp4(tmp_path / "clip_0.mp4", num_frames=8, fps=2)
    longer = made_files.numbered_mp4(tmp_path / "longer.mp4", num_frames=16, fps=2)

    def read_another(path, budget, decoder):
        """As if the file were replaced between the moment it is asked for and the moment it is read."""
        file.rename(tmp_path / "kept.mp4")
        longer.rename(file)
        return read_video(path, budget, decoder)

    with loader(tmp_path, tmp_path, cache_mib=1, steps_ahead=0, read=read_another) as clips:
        asked_for = clips._file_of(example("clip_0.mp4"))
        [batch] = clips.stream(plan([0]))
        assert len(batch.clips[0].video.frames) == 8  # what was there when it was read
        assert clips._cache.get(asked_for) is None
        file.rename(longer)
        (tmp_path / "kept.mp4").rename(file)
        clips.read = read_video
        [batch] = clips.stream(plan([0]))
        assert len(batch.clips[0].video.frames) == 4
        assert clips.counts["decoded"] == 2


def test_a_link_is_followed_once(tmp_path):
    for number, num_frames in enumerate((8, 16)):
        (tmp_path / f"version_{number}").mkdir()
        made_files.numbered_mp4(tmp_path / f"version_{number}" / "clip_0.mp4", num_frames, fps=2)
    link = tmp_path / "clips"

    def lead_to(number):
        link.unlink(missing_ok=True)
        link.symlink_to(f"version_{number}")

    def read_meanwhile(path, budget, decoder):
        """As if the link led elsewhere for as long as the decoder reads."""
        lead_to(1)
        video = read_video(path, budget, decoder)
        lead_to(0)
        return video

    lead_to(0)
    with loader(link, tmp_path, cache_mib=1, read=read_meanwhile) as clips:
        lengths = [len(batch.clips[0].video.frames) for batch in clips.stream(plan([0], [0]))]
    assert lengths == [4, 4]


def test_clip_asked_for_twice_within_the_window_is_decoded_once(root, tmp_path):
    marks = root / "marks.txt"
    marks.unlink(missing_ok=True)
    with loader(root, tmp_path, read=failing_readers.leaves_a_mark) as clips:
        batches = list(clips.stream(plan([0, 0], [0], [1], [2], [3], [0])))
    assert batches[0].clips[0].video is batches[0].clips[1].video is batches[1].clips[0].video
    # steps_ahead=2: clip 0 left the window before step 5 entered it, so that it is read again
    read = [line.split()[0] for line in marks.read_text().splitlines()]
    assert sorted(read) == ["clip_0", "clip_0", "clip_1", "clip_2", "clip_3"]


def test_cache_keeps_clips_for_later_steps_within_its_size(root, tmp_path):
    marks = root / "marks.txt"
    marks.unlink(missing_ok=True)
    with loader(root, tmp_path, read=failing_readers.leaves_a_mark, cache_mib=1, steps_ahead=0) as clips:
        list(clips.stream(plan([0], [1], [0], [1])))
        assert clips.counts["decoded"] == 2
    assert len(marks.read_text().splitlines()) == 2


def test_following_steps_are_decoded_while_one_trains(root, tmp_path):
    marks = root / "marks.txt"
    marks.unlink(missing_ok=True)
    with loader(root, tmp_path, num_workers=1, steps_ahead=2, read=failing_readers.leaves_a_mark) as clips:
        stream = clips.stream(plan([0], [1], [2], [3], [4]))
        next(stream)
        deadline = time.monotonic() + 20
        while len(marks.read_text().splitlines()) < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)  # a fourth clip would be read by now if the window were larger
        assert sorted(line.split()[0] for line in marks.read_text().splitlines()) == ["clip_0", "clip_1", "clip_2"]


def test_a_step_does_not_wait_for_the_next_ones_to_be_handed_in(root, tmp_path):
    def slow_plan():
        for step in plan([0], [1], [2]):
            time.sleep(0.4)
            yield step

    with loader(root, tmp_path, steps_ahead=1) as clips:
        stream = clips.stream(slow_plan())
        next(stream)
        for _ in range(2):
            time.sleep(0.6)  # training: the thread asks for the next step now
            begin = time.monotonic()
            next(stream)
            assert time.monotonic() - begin < 0.3


def test_what_goes_wrong_with_a_plan_is_told_at_its_step(root, tmp_path):
    def broken_plan():
        yield from plan([0], [1])
        raise ValueError("no such step")

    for steps_ahead in (0, 1, 5):
        with loader(root, tmp_path, steps_ahead=steps_ahead) as clips:
            stream, num_given = clips.stream(broken_plan()), 0
            with pytest.raises(ValueError, match="no such step"):
                for _ in stream:
                    num_given += 1
            assert num_given == 2


@needs_two_decoders
@pytest.mark.parametrize("reader", [failing_readers.hangs_with_decord, failing_readers.dies_with_decord])
def test_hung_or_dead_decoder_is_followed_by_the_second_one(root, tmp_path, reader):
    with loader(root, tmp_path, num_workers=1, timeout_s=2, read=reader) as clips:
        (batch,) = clips.stream(plan([0, 1]))
        assert clips.counts == {
            "decoded": 2,
            "second_decoder": 2,
            "from_disk": 0,
            "quarantined_videos": 0,
            "quarantined_examples": 0,
        }
        assert clips.undecided == set()
    assert [made_files.numbers_of(clip.video.frames)[-1] for clip in batch.clips] == [7, 9]
    assert quarantined(tmp_path) == []


@pytest.mark.parametrize(
    ("reader", "reason"),
    [
        (failing_readers.hangs_on_one_clip, "no frames within 2 s"),
        (failing_readers.dies_on_one_clip, "process died (exit code 7)"),
    ],
)
def test_hung_or_dead_clip_is_quarantined_and_the_others_are_loaded(root, tmp_path, reader, reason):
    with loader(root, tmp_path, num_workers=2, timeout_s=2, read=reader) as clips:
        batches = list(clips.stream(plan([0, 1, 2], [1, 3])))
        assert clips.undecided == {"clip_1.mp4"}
    assert [(batch.num_asked, [clip.position for clip in batch.clips]) for batch in batches] == [(3, [0, 2]), (2, [1])]
    (row,) = quarantined(tmp_path)
    assert (row["video"], row["example_ids"], row["step"]) == ("clip_1.mp4", ["made:clip_1.mp4:0"], 0)
    assert list(row["reasons"]) == list(available_decoders())
    assert all(reason in text for text in row["reasons"].values())


@pytest.mark.parametrize("num_workers", [0, 1])
def test_folder_of_bad_files_is_survived_and_each_is_named(tmp_path, num_workers):
    root = tmp_path / "videos"
    root.mkdir()
    good = made_files.numbered_mp4(root / "good.mp4")
    made_files.with_audio(good, root / "audio.mp4")
    made_files.mp4_with_times(root / "variable.mp4", [0.0, 0.1, 0.2, 2.0, 2.1, 5.0])
    (root / "truncated.mp4").write_bytes(good.read_bytes()[:900])
    (root / "empty.mp4").touch()
    (root / "text.mp4").write_text("nothing to see here\n")
    (tmp_path / "outside.mp4").write_bytes(good.read_bytes())
    (root / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    names = ("good", "audio", "variable", "truncated", "empty", "text", "missing", "link")
    with loader(root, tmp_path, num_workers=num_workers) as clips:
        (batch,) = clips.stream([(3, [example(f"{name}.mp4") for name in names])])
        assert clips.counts["quarantined_videos"] == 5
    assert batch.num_asked == 8
    assert [clip.example.video for clip in batch.clips] == ["good.mp4", "audio.mp4", "variable.mp4"]
    reasons = {row["video"]: " / ".join(row["reasons"].values()) for row in quarantined(tmp_path)}
    assert set(reasons) == {f"{name}.mp4" for name in names[3:]}
    assert "Invalid data" in reasons["truncated.mp4"]
    assert "file is empty" in reasons["empty.mp4"]
    assert "not a video container" in reasons["text.mp4"]
    assert "no such file" in reasons["missing.mp4"]
    assert "leaves the video root" in reasons["link.mp4"]
    assert all(row["step"] == 3 for row in quarantined(tmp_path))


def test_quarantined_clip_is_not_tried_again_by_a_resumed_run(root, tmp_path):
    (tmp_path / "quarantine.jsonl").write_text(
        json.dumps({"video": "clip_0.mp4", "example_ids": ["a"], "reasons": {"decord": "slow"}, "step": 4}) + "\n"
    )
    marks = root / "marks.txt"
    marks.unlink(missing_ok=True)
    with loader(root, tmp_path, read=failing_readers.leaves_a_mark) as clips:
        (batch,) = clips.stream(plan([0, 1]))
    assert [clip.position for clip in batch.clips] == [1]
    assert {line.split()[0] for line in marks.read_text().splitlines()} == {"clip_1"}
    assert len(quarantined(tmp_path)) == 1


@pytest.mark.parametrize("num_workers", [0, 1])
def test_error_in_the_program_is_no_reason_for_quarantine(root, tmp_path, num_workers):
    buggy = loader(root, tmp_path, num_workers=num_workers, read=failing_readers.has_a_bug)
    with buggy as clips, pytest.raises(KeyError, match="no such thing"):
        list(clips.stream(plan([0])))
    assert quarantined(tmp_path) == []


def test_abandoned_stream_frees_its_workers(root, tmp_path):
    with loader(root, tmp_path, num_workers=1, timeout_s=600, read=failing_readers.hangs_on_one_clip) as clips:
        stream = clips.stream(plan([0], [1], [1]))
        next(stream)
        stream.close()  # the only worker may hang on clip 1 by now
        begin = time.monotonic()
        (batch,) = clips.stream(plan([2]))
        assert len(batch.clips) == 1
        assert time.monotonic() - begin < 30


def test_frames_are_plain_arrays(root, tmp_path):
    with loader(root, tmp_path, num_workers=1) as clips:
        (batch,) = clips.stream(plan([0]))
    frames = batch.clips[0].video.frames
    assert isinstance(frames, np.ndarray)
    assert (frames.dtype, frames.shape) == (np.uint8, (4, 3, 28, 56))


@pytest.mark.parametrize("broken", [{"num_workers": -1}, {"steps_ahead": -1}, {"timeout_s": 0}, {"cache_mib": -1}])
def test_impossible_settings_are_refused(root, tmp_path, broken):
    with pytest.raises(ValueError, match="ClipLoader needs"):
        loader(root, tmp_path, **broken)


def test_hung_worker_does_not_outlive_a_killed_run(root, tmp_path):
    program = f"""
from pathlib import Path
from tests.data.test_clips import failing_readers, loader, plan
if __name__ == "__main__":
    root, folder = Path({str(root)!r}), Path({str(tmp_path)!r})
    with loader(root, folder, num_workers=1, read=failing_readers.tells_and_hangs) as clips:
        next(clips.stream(plan([0])))
"""
    (tmp_path / "run.py").write_text(program)
    told = root / "hanging_worker.txt"
    told.unlink(missing_ok=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])}
    run = subprocess.Popen([sys.executable, tmp_path / "run.py"], env=environment)
    wait_until(lambda: told.exists() and told.read_text(), run)
    worker = int(told.read_text())
    assert is_running(worker)
    run.kill()
    run.wait()
    wait_until(lambda: not is_running(worker))


def wait_until(condition, run: subprocess.Popen | None = None, limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        assert run is None or run.poll() is None, "the run ended by itself"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
