"""A checkpoint that writes events, evaluated as a user does: recognised, killed, continued, and scored like others."""

import json
import shutil
from pathlib import Path

import pytest

from tests.evaluation.small_answers import lines_of, write_checkpoint_of_events
from tests.walks.evaluations import BATCH_SIZE, NUM_QUESTIONS, assert_same_results, evaluate, kill_half_way, small
from tests.walks.test_evaluate import metrics_of


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "events"
    write_checkpoint_of_events(folder)
    return folder


@pytest.fixture(scope="module")
def overrides(outputs, checkpoint) -> list[str]:
    return small(outputs, f"checkpoint={checkpoint}", f"inference.batch_size={BATCH_SIZE}", "inference.num_threads=1")


@pytest.fixture(scope="module")
def whole(overrides, tmp_path_factory) -> Path:
    """An evaluation that nothing disturbed."""
    output = tmp_path_factory.mktemp("evaluations") / "whole"
    evaluate(output, *overrides)
    return output


def test_it_is_recognised_and_scored(whole):
    records = lines_of(whole / "predictions.jsonl")
    assert len(records) == NUM_QUESTIONS and any(record["located"] for record in records)
    header = json.loads((whole / "predictions.jsonl").read_text("utf-8").splitlines()[0])["header"]["answering"]
    assert header["answers"] == "located" and header["localization"]["include_last_step"]
    assert header["wording"] == {"structure": {"system": "", "before_video": "video {query}", "after_video": ""}}
    found = metrics_of(whole)
    assert found["num_failed"] == sum(record["fault"] is not None for record in records)
    samples = [json.loads(line) for line in (whole / "samples.jsonl").read_text("utf-8").splitlines()]
    for record, sample in zip(records, samples, strict=True):
        located = sorted(one["segment"] for one in record["located"])
        kept = located if sample["task"] == "tal" else [one["segment"] for one in record["located"][:1]]
        assert sample["segments"] == kept
    assert (whole / "report.html").stat().st_size > 10_000


def test_killed_half_way_and_started_again_is_the_same_to_the_byte(overrides, whole, tmp_path):
    output = tmp_path / "killed"
    kill_half_way(output, *overrides, OMP_NUM_THREADS="1")
    evaluate(output, *overrides)
    assert_same_results(output, whole)


def test_other_ways_of_finding_times_are_not_mixed(overrides, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    with pytest.raises(ValueError, match=r"answering\.localization\.threshold: 0\.7 -> 0\.2"):
        evaluate(tmp_path / "copy", *overrides, "inference.localization.threshold=0.2")
    evaluate(tmp_path / "other", *overrides, "inference.localization.threshold=0.2")
    answers = [lines_of(output / "predictions.jsonl") for output in (whole, tmp_path / "other")]
    texts = [[record["completion"] for record in records] for records in answers]
    assert texts[0] == texts[1] and answers[0] != answers[1]


def test_saved_answers_score_the_same_without_a_model(outputs, whole, tmp_path):
    evaluate(tmp_path, *small(outputs, f"predictions={whole / 'predictions.jsonl'}"))
    assert (tmp_path / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


def test_it_may_be_asked_for_written_times_all_the_same(overrides, tmp_path):
    evaluate(tmp_path, *overrides, "inference.answers=written")
    assert all(record["fault"] == "no_answer_block" for record in lines_of(tmp_path / "predictions.jsonl"))
