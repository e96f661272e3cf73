"""Advantages, loss, gradient, masks and log-probabilities as recorded from the released trainer (float64)."""

import json
from itertools import pairwise

import pytest
import torch

from museg.objectives.advantages import group_advantages
from museg.objectives.grpo import grpo_loss
from museg.policy.engine import completion_mask
from museg.policy.log_probs import token_log_probs
from tests.shared import ORACLES, require

NUM_CASES = 20
EXACT = {"rtol": 1e-9, "atol": 1e-9}


@pytest.fixture(scope="module")
def recorded() -> dict:
    return json.loads(require(ORACLES / "grpo.json").read_text())


def doubles(values: list) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("index", range(NUM_CASES))
def test_advantages_equal_the_record(recorded, index):
    case = recorded["cases"][index]
    groups = doubles(case["rewards"]).view(case["num_prompts"], case["num_generations"])
    torch.testing.assert_close(group_advantages(groups).flatten(), doubles(case["advantages"]), **EXACT)
    # in float32, as the release runs, rewards within 1e-4 of each other lose digits: they are the same digits here
    in_float32 = group_advantages(groups.float()).flatten().double()
    torch.testing.assert_close(in_float32, doubles(case["advantages_float32_path"]), rtol=0, atol=1e-6)
    if case["kind"] == "all_equal":
        assert group_advantages(groups).eq(0).all()


@pytest.mark.parametrize("index", range(NUM_CASES))
def test_loss_and_gradient_equal_the_record(recorded, index):
    case = recorded["cases"][index]
    log_probs = doubles(case["logps"]).requires_grad_()
    mask = torch.tensor(case["mask"])
    result = grpo_loss(
        log_probs,
        log_probs.detach(),
        doubles(case["ref_logps"]),
        doubles(case["advantages"]),
        mask,
        beta=case["beta"],
        clip_range=(0.2, 0.2),
    )
    result.loss.backward()

    torch.testing.assert_close(result.loss.detach(), doubles(case["loss"]), **EXACT)
    torch.testing.assert_close(result.kl, doubles(case["kl"]), **EXACT)
    torch.testing.assert_close(log_probs.grad, doubles(case["grad_logps"]), **EXACT)
    assert mask.sum(dim=1).double().mean().item() == pytest.approx(case["completion_length"], rel=1e-6)  # float32 there
    assert result.clip_fraction == 0


@pytest.mark.parametrize("index", range(NUM_CASES))
@pytest.mark.parametrize("averaging", ["sequence", "token"])
def test_micro_batches_add_up_to_the_whole_step(recorded, index, averaging):
    case = recorded["cases"][index]
    inputs = [doubles(case[key]) for key in ("logps", "logps", "ref_logps", "advantages")] + [
        torch.tensor(case["mask"])
    ]
    settings = {"beta": case["beta"], "clip_range": (0.2, 0.2), "averaging": averaging}
    whole = grpo_loss(*inputs, **settings)
    borders = sorted({0, 1, len(inputs[0]) // 2, len(inputs[0])})
    parts = [grpo_loss(*(value[start:stop] for value in inputs), **settings) for start, stop in pairwise(borders)]
    torch.testing.assert_close(sum(part.loss * part.weight / whole.weight for part in parts), whole.loss, **EXACT)


def test_completion_masks_equal_the_record(recorded):
    assert len(recorded["completion_masks"]) == 12
    for case in recorded["completion_masks"]:
        mask = completion_mask(torch.tensor(case["completion_ids"]), [case["eos_token_id"]])
        assert mask.int().tolist() == case["completion_mask"]


def test_token_log_probs_equal_the_record(recorded):
    assert len(recorded["per_token_logps"]) == 4
    for case in recorded["per_token_logps"]:
        keep = case["logits_to_keep"]
        logits = doubles(case["logits"])[:, -keep - 1 : -1]  # the token before predicts a token
        targets = torch.tensor(case["input_ids"])[:, -keep:]
        actual = token_log_probs(logits.flatten(0, 1), targets.flatten()).view_as(targets)
        torch.testing.assert_close(actual, doubles(case["per_token_logps"]), **EXACT)


def test_every_recorded_case_is_compared(recorded):
    assert len(recorded["cases"]) == NUM_CASES
