"""Evaluation as a user meets it: answered by a trained model, killed, continued, shared out, scored again, compared."""

import json
import shutil
from pathlib import Path

import pytest

from tests.evaluation.small_answers import counts_of
from tests.walks.evaluations import (
    BATCH_SIZE,
    NUM_QUESTIONS,
    TIMEOUT_S,
    assert_same_results,
    evaluate,
    kill_half_way,
    num_lines,
    small,
    start,
    trained_run,
)


@pytest.fixture(scope="module")
def run_dir(outputs) -> Path:
    return trained_run(outputs)


@pytest.fixture(scope="module")
def whole(outputs, run_dir, tmp_path_factory) -> Path:
    """An evaluation that nothing disturbed."""
    output = tmp_path_factory.mktemp("evaluations") / "whole"
    evaluate(output, *small(outputs, f"checkpoint={run_dir}", f"inference.batch_size={BATCH_SIZE}"))
    return output


def samples_of(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / "samples.jsonl").read_text("utf-8").splitlines()]


def metrics_of(output: Path) -> dict:
    return json.loads((output / "metrics.json").read_text("utf-8"))


def test_everything_is_there(whole):
    found = metrics_of(whole)
    assert found["num_samples"] == NUM_QUESTIONS
    assert set(found["scores"]) == {"official", "corrected", "field"}
    assert 0.05 < found["scores"]["field"]["mean_iou"] < 0.9  # it learned something, and not everything
    assert sum(found["failures"]["counts"].values()) == NUM_QUESTIONS
    assert (whole / "report.html").stat().st_size > 10_000
    assert num_lines(whole / "samples.jsonl") == NUM_QUESTIONS
    identity = json.loads((whole / "evaluation.json").read_text("utf-8"))
    assert len(identity["checkpoint"]["sha256"]) == 64 and identity["checkpoint"]["dtype"] == "float32"


def test_killed_half_way_and_started_again_is_the_same_to_the_byte(outputs, run_dir, whole, tmp_path):
    output = tmp_path / "killed"
    overrides = small(outputs, f"checkpoint={run_dir}", f"inference.batch_size={BATCH_SIZE}")
    shard = kill_half_way(output, *overrides)
    num_finished = num_lines(shard) - 1
    decoded_before = json.loads((output / "predictions" / "decoding_0_of_1.json").read_text())["decoded"]
    assert 0 < num_finished < NUM_QUESTIONS

    evaluate(output, *overrides)
    assert_same_results(output, whole)
    # every clip has one question here: the second start decodes those of the unanswered questions and no other
    assert counts_of(output)["decoded"] - decoded_before == NUM_QUESTIONS - num_finished


def test_shared_between_two_processes(outputs, run_dir, whole, tmp_path):
    overrides = small(outputs, f"checkpoint={run_dir}", f"inference.batch_size={BATCH_SIZE}", "shard.count=2")
    evaluate(tmp_path, *overrides, "shard.index=1")
    assert not (tmp_path / "metrics.json").exists()
    evaluate(tmp_path, *overrides, "shard.index=0")
    assert (tmp_path / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("benchmark.max_new_tokens=39", "max_new_tokens"),
        ("benchmark.prompt.wordings.timestamp.before_video='say {query}'", "wording"),
    ],
)
def test_changed_conditions_refuse_to_mix(outputs, run_dir, whole, change, told, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    with pytest.raises(ValueError, match=told):
        overrides = small(outputs, f"checkpoint={run_dir}", f"inference.batch_size={BATCH_SIZE}", change)
        evaluate(tmp_path / "copy", *overrides)


def test_saved_answers_score_the_same_without_a_model(outputs, whole, tmp_path):
    evaluate(tmp_path, *small(outputs, f"predictions={whole / 'predictions.jsonl'}"))
    assert (tmp_path / "metrics.json").read_bytes() == (whole / "metrics.json").read_bytes()


def test_two_evaluations_side_by_side(outputs, whole, tmp_path):
    right = [
        {"id": line["id"], "output": " ".join(f"{a}-{b}" for a, b in line["targets"])} for line in samples_of(whole)
    ]
    (tmp_path / "right.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in right))
    evaluate(tmp_path / "right", *small(outputs, f"predictions={tmp_path / 'right.jsonl'}"))
    evaluate(tmp_path / "compared", f"compare=[{whole},{tmp_path / 'right'}]")
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text("utf-8"))
    assert [run["name"] for run in found["runs"]] == ["whole", "right"]
    (iou,) = [m for m in found["metrics"] if (m["group"], m["section"], m["name"]) == ("", "field", "mean_iou")]
    assert iou["estimates"][1]["value"] == 1.0
    (difference,) = iou["differences"]
    assert difference["value"] == pytest.approx(1 - metrics_of(whole)["scores"]["field"]["mean_iou"])
    assert 0 < difference["low"] < difference["value"] < difference["high"]
    assert (tmp_path / "compared" / "report.html").stat().st_size > 10_000


def test_an_unfinished_training_run_is_no_checkpoint(outputs, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"has not ended.*train\.py resume="):
        evaluate(tmp_path / "out", *small(outputs, f"checkpoint={tmp_path / 'run'}"))


def test_broken_answers_end_with_a_message_and_no_traceback(outputs, whole, tmp_path):
    (tmp_path / "answers.jsonl").write_bytes(
        b'{"id": 0, "output": "1-2"}\n{"id": 0, "output": "1-2"}\n\xff\n{"id": 999}\n'
    )
    process = start(tmp_path / "out", *small(outputs, f"predictions={tmp_path / 'answers.jsonl'}"))
    _, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "line 2" in errors and "line 3" in errors and "line 4" in errors
    assert "Traceback" not in errors
