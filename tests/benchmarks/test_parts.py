"""The benchmark of the parts of a step: what it measures is right, and all of it is there."""

import random
from dataclasses import replace

import pytest
import torch

from museg.config.validation import checked_settings
from museg.targets import build
from tests.benchmarks import parts
from tests.config.options import compose
from tests.walks import tiny_runs


def values_of(rows, shape):
    return {row["measure"]: row["values"] for row in rows if row["shape"] == shape}


def test_parts_of_both_styles_are_measured(tmp_path):
    rows = parts.part_rows(tmp_path, ["tensorboard"], num_runs=1)
    released, tiny = (values_of(rows, f"14x8 {style} texts") for style in ("released", "tiny"))
    assert (
        list(released)
        == list(tiny)
        == [
            "reading",
            "rewards",
            "reading and rewards",
            "advantages",
            "describing",
            "completions to JSON lines",
            "logging csv",
            "logging tensorboard",
        ]
    )
    assert released["reading and rewards"]["goal_ms"] == 5
    assert all(values["ms"] >= 0 for values in released.values())
    # a round of warming up and a measured one, ten times each, for both styles
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 1 + 2 * 2 * 10
    assert len((tmp_path / "completions.jsonl").read_text().splitlines()) == 2 * 2 * 10 * 112


def test_texts_are_as_long_as_described_and_right():
    chance = random.Random(0)
    examples = parts.made_examples(chance)
    texts = [parts.made_text(example, parts.NUM_WORDS["released"], chance) for example in examples]
    assert 1100 < sum(map(len, texts)) / len(texts) < 1500
    mix = build(checked_settings(compose())["reward"])
    wrong = replace(examples[0], targets=examples[1].targets)
    responses = [parts.read_strict(text) for text in texts]
    parts.check([mix.score(response, example.targets) for response, example in zip(responses, examples, strict=True)])
    with pytest.raises(SystemExit, match="text 0 earns"):
        parts.check([mix.score(responses[0], wrong.targets)])


def test_rollouts_have_the_shape_of_the_step():
    rollouts = parts.made_rollouts(["x" * 40] * 111 + ["x" * 80], torch.Generator().manual_seed(0))
    assert rollouts.completion_ids.shape == rollouts.completion_mask.shape == (112, 20)
    assert rollouts.completion_mask.sum(dim=1).tolist() == [10] * 111 + [20]
    assert rollouts.group_of.bincount().tolist() == [8] * 14


def test_the_steps_of_a_run_are_taken_apart(outputs, tmp_path):
    steps = ("cold_start=none", "phase.steps=3", "phase.total_steps=6", "rollout.max_new_tokens=4")
    rows = parts.step_rows(tmp_path, *tiny_runs.small_overrides(outputs, *steps))
    found = values_of(rows, "4x4 default job")
    assert next(iter(found)) == "step: whole step"
    assert {f"step: {part}" for part in ("rollout", "backward", "reading and rewards", "checkpoint")} <= set(found)
    shares = [values["share"] for name, values in found.items() if name != "step: whole step"]
    assert sum(shares) == pytest.approx(1, abs=0.002)
    checkpoint = parts.measured_checkpoint(rows, every_steps=50)["values"]
    assert checkpoint["write_s"] == pytest.approx(found["step: checkpoint"]["median_ms"] / 1000, abs=1e-3)
    assert 0 < checkpoint["share"] < 0.1
    # the row of the step after a checkpoint tells its time: here the first of the second phase
    timed = [float(row["time/checkpoint_s"] or 0) for row in tiny_runs.rows(tmp_path, "train")]
    assert [seconds > 0 for seconds in timed] == [False, False, False, True, False, False]


def test_checkpoints_of_the_published_sizes_by_hand():
    rows = parts.checkpoint_rows(every_steps=50, step_s=10, disk_mib_s=1024)
    values = {row["shape"]: row["values"] for row in rows}
    # 8.29e9 weights x 12 bytes = 92.7 GiB, 92.7 s at 1 GiB/s; of 500 s + 92.7 s that is 0.156
    assert values["Qwen2.5-VL-7B-Instruct"]["gib"] == pytest.approx(92.7, abs=0.05)
    assert values["Qwen2.5-VL-7B-Instruct"]["share"] == pytest.approx(92.7 / 592.7, abs=1e-3)
    assert values["Qwen2.5-VL-3B-Instruct"]["gib"] == pytest.approx(42.0, abs=0.05)
