import json
import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from museg.evaluation.merging import missing_rows
from museg.evaluation.predict import PredictSettings
from museg.video.decoding import available_decoders
from tests.data import failing_readers
from tests.evaluation import small_answers
from tests.evaluation.small_answers import CLIP_OF_ROW, IDENTITY, SAMPLES, answer, counts_of, lines_of, sample

TORN = ((1, 0.5), (2, 0.0), (3, 0.1), (3, 0.5), (4, 0.99))
"""Which write a kill tears and how much of it is done: the header, a batch's first line, behind that, its last line."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return small_answers.made_benchmark(tmp_path_factory.mktemp("benchmark"))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    """What an undisturbed process writes."""
    output = tmp_path_factory.mktemp("whole")
    answer(folder, output)
    return output


def test_every_sample_has_its_line_in_annotation_order(whole):
    first, *rest = (whole / "predictions.jsonl").read_text().splitlines()
    header = json.loads(first)["header"]
    assert header["checkpoint"] == IDENTITY["checkpoint"]
    assert header["answering"]["wording"]["before_video"] == "cite {query}"
    assert header["answering"]["budget"]["min_pixels"] == 784 and header["answering"]["max_new_tokens"] == 24
    records = [json.loads(line) for line in rest]
    assert [record["row"] for record in records] == list(range(12))
    assert [record["id"] for record in records] == [f"small:{row}" for row in range(12)]
    assert set(records[0]) == {"id", "row", "completion", "num_tokens", "fault", "output"}
    # random weights: no answer blocks, but every question has an answer of its own
    assert len({record["completion"] for record in records}) == 12
    assert all(record["num_tokens"] == 24 and record["fault"] == "no_answer_block" for record in records)
    assert (whole / "quarantine.jsonl").read_text() == ""


def test_each_video_is_decoded_and_encoded_once(whole):
    # twelve questions about eight clips, in batches of three, by clip: 0 0 0 | 1 1 2 | 2 3 4 | 5 6 7
    assert counts_of(whole) == {"decoded": 8, "second_decoder": 0, "from_disk": 0, "encoded": 8}


@pytest.mark.parametrize("changed", [{"feature_cache_mib": 0}, {"num_workers": 2}])
def test_what_is_kept_and_who_decodes_changes_no_answer(folder, whole, tmp_path, changed):
    answer(folder, tmp_path, batch_size=3, **changed)
    assert (tmp_path / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    assert counts_of(tmp_path)["decoded"] == 8


def test_without_room_for_features_a_video_is_encoded_once_a_batch(folder, whole, tmp_path):
    answer(folder, tmp_path, batch_size=2, feature_cache_mib=0)
    # the questions in batches of two, by clip: 0 0 | 0 1 | 1 2 | 2 3 | 4 5 | 6 7, so 0, 1 and 2 are encoded twice
    assert counts_of(tmp_path) == {"decoded": 8, "second_decoder": 0, "from_disk": 0, "encoded": 11}
    answers, expected = (lines_of(output / "predictions.jsonl") for output in (tmp_path, whole))
    assert answers == expected  # a tiny float32 model answers alike in batches of any size


@pytest.fixture(scope="module")
def disturbed(folder, tmp_path_factory) -> dict[tuple, Path]:
    """Folders of processes that were killed, by what they were doing; and one that two processes shared undisturbed."""
    killed = {
        **{("answered", number): (small_answers.answer_and_die_after, number) for number in (3, 9)},
        **{("writing", *place): (small_answers.answer_and_die_writing, *place) for place in TORN},
    }
    outputs = {disturbance: tmp_path_factory.mktemp("killed") for disturbance in killed}
    shared = outputs["shared",] = tmp_path_factory.mktemp("shared")
    calls = [(target, (folder, outputs[name], *place)) for name, (target, *place) in killed.items()]
    pair = [(small_answers.answer_shard, (folder, shared, (index, 2))) for index in range(2)]
    assert small_answers.exit_codes_of(*calls, *pair) == [-9] * len(calls) + [0, 0]
    return outputs


@pytest.mark.parametrize("num_samples", [3, 9])
def test_killed_between_batches_and_started_again(folder, whole, disturbed, num_samples):
    output = disturbed["answered", num_samples]
    assert not (output / "predictions.jsonl").exists()
    missing = missing_rows(output, SAMPLES)
    assert len(missing) == 12 - num_samples
    before = json.loads((output / "predictions" / "decoding_0_of_1.json").read_text())["decoded"]
    answer(folder, output)
    assert (output / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    # only the clips of samples without an answer are decoded
    assert counts_of(output)["decoded"] - before == len({CLIP_OF_ROW[row] for row in missing})


@pytest.mark.parametrize(("num_writes", "share"), TORN)
def test_killed_while_writing_and_started_again(folder, whole, disturbed, num_writes, share):
    output = disturbed["writing", num_writes, share]
    torn = (output / "predictions" / "shard_0_of_1.jsonl").read_bytes()
    assert share == 0 or not torn.endswith(b"\n")
    answer(folder, output)
    for file in ("predictions.jsonl", "predictions/shard_0_of_1.jsonl"):
        assert (output / file).read_bytes() == (whole / file).read_bytes()


def test_two_processes_together_answer_like_one(whole, disturbed):
    output = disturbed["shared",]
    assert (output / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    # a clip belongs to one process with all its questions
    assert counts_of(output)["decoded"] == 8
    parts = [lines_of(output / "predictions" / f"shard_{index}_of_2.jsonl") for index in range(2)]
    clips = [{CLIP_OF_ROW[record["row"]] for record in part} for part in parts]
    assert clips == [{0, 2, 4, 6}, {1, 3, 5, 7}]


def test_a_missing_shard_is_told_and_may_be_made_up_by_any_number_of_processes(folder, whole, tmp_path):
    path = answer(folder, tmp_path, shard=(1, 3))
    # every third clip from clip 1: clips 1, 4 and 7, which rows 1, 5, 6 and 11 ask about
    assert not path.exists() and missing_rows(tmp_path, SAMPLES) == [0, 2, 3, 4, 7, 8, 9, 10]
    assert answer(folder, tmp_path) == path
    assert path.read_bytes() == (whole / "predictions.jsonl").read_bytes()
    assert counts_of(tmp_path)["decoded"] == 8


def test_an_answered_part_is_no_answered_whole(folder, tmp_path):
    part = answer(folder, tmp_path, samples=SAMPLES[:1])
    assert part.exists()
    answer(folder, tmp_path, samples=SAMPLES[:4], shard=(1, 2))  # row 1, about the second clip
    assert not part.exists() and missing_rows(tmp_path, SAMPLES[:4]) == [2, 3]


def test_what_is_finished_needs_neither_model_nor_clips(whole, tmp_path):
    before = (whole / "predictions.jsonl").read_bytes()
    answer(tmp_path / "nothing here", whole)
    assert (whole / "predictions.jsonl").read_bytes() == before


def test_more_samples_may_be_asked_later(folder, whole, tmp_path):
    answer(folder, tmp_path, samples=SAMPLES[:4])
    assert [record["row"] for record in lines_of(tmp_path / "predictions.jsonl")] == [0, 1, 2, 3]
    answer(folder, tmp_path)
    assert (tmp_path / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("identity", "settings", "change"),
    [
        ({"checkpoint": {"name": "tiny", "sha256": "4567"}}, {}, r"checkpoint\.sha256: '0123' -> '4567'"),
        ({"dtype": "bfloat16"}, {}, r"dtype: None -> 'bfloat16'"),
        ({}, {"max_new_tokens": 25}, r"answering\.max_new_tokens: 24 -> 25"),
    ],
)
@pytest.mark.parametrize("shard", [(0, 1), (1, 2)])
def test_other_conditions_refuse_to_mix_with_old_answers(folder, whole, identity, settings, change, shard):
    before = {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=rf"shard_0_of_1\.jsonl holds answers .*\n  {change}\n.*another output folder"):
        answer(folder, whole, identity={**IDENTITY, **identity}, shard=shard, **settings)
    assert {file: file.read_bytes() for file in whole.rglob("*") if file.is_file()} == before


def test_a_checkpoint_that_was_mended_before_it_answered_anything_goes_on(folder, tmp_path):
    def fail(policy):
        raise ValueError("damaged weights")

    for shard in [(0, 2), (1, 2), (0, 1)]:
        with pytest.raises(ValueError, match="damaged weights"):
            answer(folder, tmp_path, samples=SAMPLES[:2], shard=shard, watch=fail)
    mended = {**IDENTITY, "checkpoint": {"name": "tiny", "sha256": "4567"}}
    path = answer(folder, tmp_path, samples=SAMPLES[:2], identity=mended)
    assert json.loads(path.read_text().splitlines()[0])["header"]["checkpoint"]["sha256"] == "4567"
    assert len(lines_of(path)) == 2


def test_a_process_that_has_not_answered_yet_keeps_other_checkpoints_out(folder, tmp_path):
    other = {**IDENTITY, "checkpoint": {"name": "tiny", "sha256": "4567"}}

    def begin_another(num_done: int, num_all: int, state: str) -> None:
        if num_done == 0:
            with pytest.raises(
                ValueError, match=r"shard_0_of_2\.jsonl holds .*\n  checkpoint\.sha256: '0123' -> '4567'"
            ):
                answer(folder, tmp_path, identity=other, shard=(1, 2))

    answer(folder, tmp_path, samples=SAMPLES[:2], shard=(0, 2), progress=begin_another)


def notes(capsys) -> list[str]:
    """What was printed to the user beside the numbers."""
    return [line for line in capsys.readouterr().err.splitlines() if "begun differently" in line]


def test_the_same_weights_elsewhere_and_newer_code_go_on_with_a_note(folder, tmp_path, capsys):
    for index in range(2):
        answer(folder, tmp_path, samples=SAMPLES[:2], shard=(index, 2))
    assert notes(capsys) == []
    moved = {**IDENTITY, "checkpoint": {"name": "elsewhere/tiny", "sha256": "0123"}, "code_version": {"commit": "2"}}
    change = "checkpoint.name: 'tiny' -> 'elsewhere/tiny'; code_version: '1' -> None; code_version.commit: None -> '2'"
    answer(folder, tmp_path, samples=SAMPLES[:3], identity=moved)
    first = tmp_path / "predictions" / "shard_0_of_2.jsonl"
    assert notes(capsys) == [f"note: {first} was begun differently: {change}"]  # once, not once a file
    assert [record["row"] for record in lines_of(tmp_path / "predictions.jsonl")] == [0, 1, 2]


@pytest.fixture
def clips(folder, tmp_path) -> Path:
    """A video root of its own, whose clips may be spoilt, beside the checkpoint."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "checkpoint").symlink_to(folder / "checkpoint")
    return shutil.copytree(folder / "clips", tmp_path / "made" / "clips")


def causes_of(output: Path) -> list[str | None]:
    """For every sample what is wrong with its video, or None."""
    faults = [record["fault"] for record in lines_of(output / "predictions.jsonl")]
    return [fault.removesuffix("_video") if fault.endswith("_video") else None for fault in faults]


def faults_of(output: Path) -> list[bool]:
    return [cause is not None for cause in causes_of(output)]


def quarantined(output: Path) -> dict[str, list[str]]:
    """Video -> ids of the samples without an answer."""
    rows = [json.loads(line) for line in (output / "quarantine.jsonl").read_text().splitlines()]
    assert all(set(row) == {"video", "example_ids", "reasons"} and row["reasons"] for row in rows)
    return {row["video"]: row["example_ids"] for row in rows}


def test_absent_videos_are_told_before_the_model_is_loaded(folder, tmp_path):
    absent = [sample(row, f"not/{row}") for row in range(3, 9)]
    samples = [*SAMPLES[:3], *absent, sample(9, "../outside"), sample(10, 0)]

    def refuse(policy):
        raise AssertionError("the model was loaded")

    with pytest.raises(ValueError) as told:
        answer(folder, tmp_path, samples=samples, watch=refuse)
    # clips 0 1 2, six that are not there, one outside
    named = "not/3.mp4, not/4.mp4, not/5.mp4, not/6.mp4, not/7.mp4, ..."
    assert f"7 of the 10 videos to be asked about are not below {folder}/clips: {named}\n" in str(told.value)
    assert "\nPut them there. With inference.allow_missing_videos=true their questions" in str(told.value)
    assert list(tmp_path.iterdir()) == []
    # only what this process is going to ask about counts: every third clip from clip 1
    answer(folder, tmp_path, samples=samples[:4], shard=(1, 3))
    with pytest.raises(
        ValueError, match=r"1 of the 4 videos to be asked about are not below .*: not/3\.mp4\nBuy them\. W"
    ):
        answer(folder, tmp_path / "all", samples=samples[:4], told={"remedy": "Buy them."})


def test_what_was_allowed_to_be_absent_once_is_told_again_while_it_is(folder, clips, tmp_path):
    for clip in (1, 2, 4):
        (clips / f"{clip}.mp4").unlink()
    (clips / "3.mp4").write_bytes(b"no video")
    answer(clips.parent, tmp_path / "out", allow_missing_videos=True)
    # the clips of the rows are 0 1 2 0 3 1 4 5 0 2 6 7
    expected = {1: "absent", 2: "absent", 3: "unreadable", 4: "absent"}
    assert causes_of(tmp_path / "out") == [expected.get(clip) for clip in CLIP_OF_ROW]
    with pytest.raises(ValueError, match=r"^3 of the 3 videos to be asked about .*: 1\.mp4, 2\.mp4, 4\.mp4\n"):
        answer(clips.parent, tmp_path / "out")
    with pytest.raises(ValueError, match=r"^2 of the 2 videos to be asked about .*: 2\.mp4, 4\.mp4\n"):
        answer(clips.parent, tmp_path / "out", shard=(0, 2))  # clips 0 2 4 6
    for clip in (1, 4):
        shutil.copy(folder / "clips" / f"{clip}.mp4", clips)
    with pytest.raises(ValueError, match=r"^1 of the 3 videos to be asked about .*: 2\.mp4\n"):
        answer(clips.parent, tmp_path / "out")
    shutil.copy(folder / "clips" / "2.mp4", clips)
    answer(clips.parent, tmp_path / "out")
    assert causes_of(tmp_path / "out") == ["unreadable" if clip == 3 else None for clip in CLIP_OF_ROW]


def test_unreadable_videos_are_answered_with_a_fault(clips, tmp_path):
    samples = [*SAMPLES[:2], sample(2, "missing"), sample(3, "../outside"), sample(4, "missing"), sample(5, 1)]
    output = tmp_path / "out"
    path = answer(clips.parent, output, samples=samples, batch_size=2, allow_missing_videos=True)
    records = lines_of(path)
    assert [record["row"] for record in records] == list(range(6))
    assert faults_of(output) == [False, False, True, True, True, False]
    assert records[2] == {
        "id": "small:2",
        "row": 2,
        "completion": "",
        "num_tokens": 0,
        "fault": "absent_video",
        "output": "",
    }
    assert quarantined(output) == {"missing.mp4": ["small:2", "small:4"], "../outside.mp4": ["small:3"]}
    assert counts_of(output)["decoded"] == 2


def test_a_video_that_could_not_be_read_is_tried_again_once_its_file_changes(folder, clips, whole, tmp_path):
    output, tried = tmp_path / "out", []

    def again(**changed) -> list[bool]:
        tried.clear()
        answer(clips.parent, output, progress=lambda *news: tried.append(news[:2]), **changed)
        return [CLIP_OF_ROW[row] for row, is_fault in enumerate(faults_of(output)) if is_fault]

    (clips / "1.mp4").write_bytes(b"no video")
    (clips / "2.mp4").unlink()
    assert again(allow_missing_videos=True) == [1, 2, 1, 2]
    assert quarantined(output) == {"1.mp4": ["small:1", "small:5"], "2.mp4": ["small:2", "small:9"]}
    before = counts_of(output)
    allowed = {"allow_missing_videos": True}
    assert again(**allowed) == [1, 2, 1, 2] and tried == [(12, 12)]  # all is as it was: nothing is asked
    os.utime(clips / "1.mp4", ns=(1, 1))
    assert again(**allowed) == [1, 2, 1, 2] and tried == [(10, 12), (12, 12)]  # looked at again, and as bad as before
    assert again(**allowed) == [1, 2, 1, 2] and tried == [(12, 12)]
    shutil.copy(folder / "clips" / "2.mp4", clips)
    assert again(shard=(0, 2)) == [1, 1]  # of clips 0 2 4 6
    assert again(shard=(1, 2)) == [1, 1] and tried == [(5, 5)]  # of clips 1 3 5 7, two questions about 1
    shutil.copy(folder / "clips" / "1.mp4", clips)
    assert again() == []
    assert counts_of(output)["decoded"] == before["decoded"] + 2
    assert (output / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
    assert quarantined(output) == {}
    (clips / "1.mp4").unlink()
    assert again() == [] and tried == [(12, 12)]


def test_another_question_about_an_unreadable_video_does_not_open_it(clips, tmp_path):
    file = clips / "1.mp4"
    content, times_ns = file.read_bytes(), (1, 10**18)
    file.write_bytes(bytes(len(content)))
    os.utime(file, ns=times_ns)
    answer(clips.parent, tmp_path / "out", samples=SAMPLES[:2])
    reasons = (tmp_path / "out" / "quarantine.jsonl").read_text().replace('["small:1"]', '["small:1", "small:5"]')
    file.write_bytes(content)  # could be read ...
    os.utime(file, ns=times_ns)  # ... but by size and date it is the file that could not
    answer(clips.parent, tmp_path / "out", samples=SAMPLES[:6], shard=(1, 4))
    assert missing_rows(tmp_path / "out", SAMPLES[:6]) == [2, 3, 4]
    answer(clips.parent, tmp_path / "out", samples=SAMPLES[:6])
    assert faults_of(tmp_path / "out") == [False, True, False, False, False, True]
    assert (tmp_path / "out" / "quarantine.jsonl").read_text() == reasons


def test_a_decoder_that_died_is_tried_once_every_start(folder, clips, tmp_path):
    (clips / "1.mp4").rename(clips / "clip_1.mp4")
    (clips / "2.mp4").write_bytes(b"no video")
    # two questions about the clip that kills its decoders: one try for both
    samples = [sample(0, "clip_1"), *(sample(row, clip) for row, clip in enumerate((0, 2, 3, 4), start=1))]
    samples += [sample(5, "clip_1")]
    asked, output = [], tmp_path / "out"

    def again(**changed) -> list[str | None]:
        asked.clear()
        changed["progress"] = lambda num_done, num_all, state: asked.append(num_done)
        answer(clips.parent, output, samples=samples, batch_size=1, **changed)
        return causes_of(output)

    lost = ["unreadable", None, "unreadable", None, None, "unreadable"]
    for num_answered in (0, 4):  # the damaged clip stays as it is
        assert again(num_workers=1, read=failing_readers.leaves_a_mark_and_dies_on_one_clip) == lost
        assert asked[0] == num_answered
        marks = (clips / "marks.txt").read_text().splitlines()
        (clips / "marks.txt").unlink()
        assert [mark for mark in marks if "clip_1" in mark] == [f"clip_1 {name}" for name in available_decoders()]
    assert again() == [None, None, "unreadable", None, None, None] and asked[0] == 4
    assert again()[2] == "unreadable" and asked == [6]


def test_killed_while_asking_again_about_videos_that_came_later(folder, clips, whole, tmp_path):
    late = [clips / f"{clip}.mp4" for clip in (0, 3, 6)]
    for file in late:
        file.unlink()
    outputs = [tmp_path / name for name in ("answered", "writing")]
    for output in outputs:
        answer(clips.parent, output, allow_missing_videos=True)
        assert sum(faults_of(output)) == 5
    for file in late:
        shutil.copy(folder / "clips" / file.name, file)
    killed = [
        (small_answers.answer_and_die_after, (clips.parent, outputs[0], 10)),
        (small_answers.answer_and_die_writing, (clips.parent, outputs[1], 2, 0.5)),
    ]
    assert small_answers.exit_codes_of(*killed) == [-9, -9]
    for output in outputs:
        assert sum(faults_of(output)) == 5  # what was merged before the kill
        answer(clips.parent, output)
        assert (output / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()
        assert not any(faults_of(output))


@pytest.mark.parametrize("is_writing", [False, True])
def test_interrupted_at_the_keyboard_and_started_again(folder, whole, tmp_path, monkeypatch, is_writing):
    write = os.write

    def interrupt(num_done: int, num_all: int, state: str) -> None:
        if num_done == 6:
            signal.raise_signal(signal.SIGINT)

    def interrupted_write(descriptor: int, data: bytes) -> int:
        if data.count(b"\n") < 3:  # not a whole batch
            return write(descriptor, data)
        write(descriptor, data[: len(data) // 2])
        signal.raise_signal(signal.SIGINT)
        return 0

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if is_writing:
            patch.setattr(os, "write", interrupted_write)
        answer(folder, tmp_path, progress=interrupt, num_workers=1)
    assert len(missing_rows(tmp_path, SAMPLES)) == (12 if is_writing else 6)
    answer(folder, tmp_path)
    assert (tmp_path / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


def test_too_little_memory_is_told_and_a_smaller_batch_goes_on(folder, whole, tmp_path, capsys):
    def room_for(num_questions: int):
        def refuse(module, given):
            if given[0].shape[0] > num_questions:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB.")

        return lambda policy: policy.model.model.language_model.layers[0].register_forward_pre_hook(refuse)

    answer(folder, tmp_path, samples=SAMPLES[:2])
    again = "go on with the same command and a smaller"
    with pytest.raises(ValueError, match=rf"left for 3 question.*{again} inference\.batch_size\. \(CUDA out") as told:
        answer(folder, tmp_path, watch=room_for(2))
    assert isinstance(told.value.__cause__, torch.OutOfMemoryError)
    answer(folder, tmp_path, watch=room_for(2), batch_size=2)
    assert [note.partition("differently: ")[2] for note in notes(capsys)] == ["answering.batch_size: 3 -> 2"]
    assert lines_of(tmp_path / "predictions.jsonl") == lines_of(whole / "predictions.jsonl")
    first, *_ = (tmp_path / "predictions.jsonl").read_text().splitlines()
    assert json.loads(first)["header"]["answering"]["batch_size"] == 2
    with pytest.raises(ValueError, match=rf"for 1 question.*{again} inference\.feature_cache_mib, or on a larger"):
        answer(folder, tmp_path / "one", watch=room_for(0), batch_size=1)


def test_another_machine_goes_on_with_a_note(folder, tmp_path, monkeypatch):
    told = []

    answer(folder, tmp_path, samples=SAMPLES[:2], identity={**IDENTITY, "device": "cuda"})
    header = json.loads((tmp_path / "predictions.jsonl").read_text().splitlines()[0])["header"]
    assert header["versions"] == {"torch": torch.__version__, "transformers": transformers.__version__}
    monkeypatch.setattr("museg.evaluation.predict.version_of", lambda package: f"other {package}")
    change = (
        r"device: 'cuda' -> 'cpu'; versions\.torch: '2.*' -> 'other torch'; versions\.transformers: '5.*' -> 'other"
    )
    answer(folder, tmp_path, samples=SAMPLES[:3], identity={**IDENTITY, "device": "cpu"}, told={"say": told.append})
    assert len(told) == 1 and re.search(change, told[0])
    assert len(lines_of(tmp_path / "predictions.jsonl")) == 3


def test_a_prompt_that_fills_the_context_is_a_fault_of_its_sample_alone(folder, whole, tmp_path):
    samples = [SAMPLES[0], replace(SAMPLES[1], question="x" * 600), SAMPLES[2]]
    records = lines_of(answer(folder, tmp_path, samples=samples))
    assert [record["fault"] for record in records] == ["no_answer_block", "prompt_too_long", "no_answer_block"]
    expected = lines_of(whole / "predictions.jsonl")
    assert [records[0], records[2]] == [expected[0], expected[2]]


def test_a_share_that_is_being_answered_is_refused(folder, tmp_path):
    def again(num_done: int, num_all: int, state: str) -> None:
        with pytest.raises(ValueError, match=r"shard_0_of_1\.jsonl is being written by another process: give every"):
            answer(folder, tmp_path, samples=SAMPLES[:2])

    answer(folder, tmp_path, samples=SAMPLES[:2], progress=again)


def test_progress_starts_with_what_is_done(folder, tmp_path):
    told = []
    answer(folder, tmp_path, samples=SAMPLES[:4], batch_size=2, progress=lambda *news: told.append(news))
    assert told == [(0, 4, ""), (2, 4, "videos decoded: 1"), (4, 4, "videos decoded: 3")]
    told.clear()
    answer(folder, tmp_path, samples=SAMPLES[:6], batch_size=2, progress=lambda *news: told.append(news))
    # by clip: rows 0 3 1 5 2 4; of these 5 and 4 are new, about clips 1 and 3
    assert told == [(4, 6, ""), (5, 6, "videos decoded: 4"), (6, 6, "videos decoded: 5")]


@pytest.mark.parametrize("broken", [{"batch_size": 0}, {"feature_cache_mib": -1}])
def test_impossible_settings_are_refused(broken):
    settings = {"batch_size": 1, "max_new_tokens": 1, "max_context_tokens": 2, "num_workers": 0, "timeout_s": 1}
    with pytest.raises(ValueError, match="batch_size must be at least 1 and feature_cache_mib at least 0"):
        PredictSettings(**{**settings, "feature_cache_mib": 0, **broken})
