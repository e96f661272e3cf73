"""All sides make the same step; one that does not is noticed."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch

from tests.benchmarks import step
from tests.benchmarks.grpo_setup import Setup
from tests.benchmarks.measure import SIZES, Shape
from tests.benchmarks.museg_step import MusegStep
from tests.benchmarks.trl_step import TrlStep
from tests.shared import unavailable

SMALL = {"hidden_size": 32, "num_layers": 2, "intermediate_size": 32, "vision_hidden_size": 32, "vision_depth": 2}
SETUP = Setup(Shape(prompt=160, completion=6, generations=4), sizes=SIZES | SMALL | {"vocab_size": 1000})


@pytest.fixture(scope="module")
def trl_steps():
    if sys.version_info < (3, 11):
        pytest.skip("TRL 1.16 needs Python 3.11")
    if find_spec("trl") is None:
        unavailable("TRL is not installed: pip install -e '.[bench]' -c constraints.txt")
    steps = {"trl": TrlStep(SETUP), "trl_compact": TrlStep(SETUP, is_compact=True)}
    for side in steps.values():
        side.start()
    return steps


def started(side):
    side.start()
    return side


def test_the_command_compares_and_measures_all_sides(trl_steps, tmp_path):
    step.main(["--quick", "--out", str(tmp_path / "found.json")], sizes=SETUP.sizes)
    on_text, on_video = json.loads((tmp_path / "found.json").read_text("utf-8"))["rows"]
    assert on_text["measure"] == "whole step on text" and on_video["measure"] == "whole step on video"
    assert on_text["ratio"].keys() == {"ours", "trl", "trl_compact", "trl_row_by_row"}
    assert on_video["ratio"].keys() == {"ours", "released"}
    assert all(min(side["seconds"]) > 0 for side in on_text["sides"].values())


def test_checkpointing_changes_no_step(trl_steps):
    setup = replace(SETUP, checkpointing=True)
    step.check({"ours": started(MusegStep(setup, has_video=False)), **trl_steps}, SETUP)
    step.check({"ours": started(MusegStep(SETUP, has_video=False)), "trl": started(TrlStep(setup))}, SETUP)


@pytest.mark.parametrize("change", [{"beta": 0.05}, {"max_grad_norm": 1e-3}])
def test_a_side_that_makes_another_step_is_noticed(change):
    sides = {
        "ours": started(MusegStep(SETUP, has_video=True)),
        "released": step.ReleasedStep(replace(SETUP, **change)),
    }
    with pytest.raises(SystemExit, match=r"released at 160x6x4: loss .* gradients differ by"):
        step.check(sides, SETUP)


def test_compact_scores_completion_tokens_alone(trl_steps, monkeypatch):
    from trl.trainer import utils

    scored = []
    right = utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        utils._ChunkedLogProbFunction, "apply", lambda hidden, *rest: scored.append(len(hidden)) or right(hidden, *rest)
    )
    for side in trl_steps.values():
        side.run()
    # reference, then policy: every position but the last of each row; or every completion token
    assert scored == [4 * (160 + 6 - 1)] * 2 + [4 * 6] * 2


def test_both_read_the_same_prompt(trl_steps):
    trainer, ours = trl_steps["trl"].trainer, MusegStep(SETUP, has_video=False)
    (ids,), _, _ = trainer._tokenize_prompts([trainer.train_dataset[0]["prompt"]])
    assert ids == ours.module.prompts.input_ids[0].tolist() and len(ids) == 160


def test_completions_have_their_length_and_weights_stay(trl_steps):
    released = step.ReleasedStep(SETUP)
    assert released.sampled().shape == (4, 6)
    for side in (released, started(MusegStep(SETUP, has_video=True)), trl_steps["trl"]):
        before = [weight.detach().clone() for weight in side.compared.parameters()]
        side.run()
        assert all(torch.equal(*pair) for pair in zip(side.compared.parameters(), before, strict=True))
    lengths = trl_steps["trl"].trainer._metrics["train"]["completions/min_length"]
    assert set(lengths) == {6}
