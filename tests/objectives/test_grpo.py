import math

import pytest
import torch

from museg.objectives.grpo import averaging_weight, grpo_loss, k3_kl, masked_mean

SETTINGS = {"beta": 0.0, "clip_range": (0.2, 0.3)}


def loss_of_ratio(ratio: float, advantage: float):
    """One token whose probability changed by `ratio` since it was sampled."""
    log_probs = torch.tensor([[math.log(ratio)]], dtype=torch.float64, requires_grad=True)
    old, mask = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1)
    result = grpo_loss(log_probs, old, None, torch.tensor([advantage], dtype=torch.float64), mask, **SETTINGS)
    result.loss.backward()
    return result, log_probs.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient", "clip_fraction"),
    [
        (1.0, 2.0, -2.0, -2.0, 0),  # the only case with one update per rollout
        (1.2, 2.0, -2.4, -2.4, 0),  # inside the range
        (1.5, 2.0, -2.6, 0.0, 1),  # above: counted as 1.3, no further push
        (0.5, 2.0, -1.0, -1.0, 0),  # below with a good answer: not clipped, the push back up stays
        (0.5, -2.0, 1.6, 0.0, 1),  # below with a bad answer: counted as 0.8
        (1.5, -2.0, 3.0, 3.0, 0),  # above with a bad answer: not clipped
    ],
)
def test_clipping_is_one_sided(ratio, advantage, loss, gradient, clip_fraction):
    result, actual_gradient = loss_of_ratio(ratio, advantage)
    assert result.loss.item() == pytest.approx(loss, abs=1e-12)
    assert actual_gradient == pytest.approx(gradient, abs=1e-12)
    assert result.clip_fraction == clip_fraction


def test_kl_estimate_by_hand():
    # reference e times likelier: e - 1 - 1; equal: 0; reference e times less likely: 1/e + 1 - 1
    kl = k3_kl(torch.tensor([0.0, -1.0, 0.0]), torch.tensor([1.0, -1.0, -1.0]))
    torch.testing.assert_close(kl, torch.tensor([math.e - 2, 0.0, 1 / math.e]))


def test_kl_pulls_towards_the_reference_even_without_advantage():
    log_probs = torch.tensor([[-1.0]], requires_grad=True)
    result = grpo_loss(
        log_probs, None, torch.tensor([[-2.0]]), torch.zeros(1), torch.ones(1, 1), beta=0.5, clip_range=(0.2, 0.2)
    )
    result.loss.backward()
    # k3 = exp(-1) + 1 - 1 = 0.3679; its slope in the log-prob is 1 - exp(-1) = 0.6321
    assert result.loss.item() == pytest.approx(0.5 * 0.367879, abs=1e-6)
    assert log_probs.grad.item() == pytest.approx(0.5 * 0.632121, abs=1e-6)


def test_averaging_by_sequence_or_by_token():
    values, mask = torch.tensor([[1.0, 9.0, 9.0], [2.0, 4.0, 6.0]]), torch.tensor([[1, 0, 0], [1, 1, 1]])
    assert masked_mean(values, mask, "sequence") == 2.5  # (1 + (2 + 4 + 6) / 3) / 2
    assert masked_mean(values, mask, "token") == 3.25  # (1 + 2 + 4 + 6) / 4
    assert averaging_weight(mask, "sequence") == 2
    assert averaging_weight(mask, "token") == 4


@pytest.mark.parametrize("averaging", ["sequence", "token"])
def test_what_the_mask_drops_has_no_influence(averaging):
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    clean = torch.tensor([[-1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
    dirty = torch.where(mask.bool(), clean, torch.inf)
    ref, advantages = torch.full((2, 3), -1.5), torch.tensor([1.0, -1.0])
    losses = [
        grpo_loss(x, x, ref, advantages, mask, beta=0.04, clip_range=(0.2, 0.2), averaging=averaging).loss
        for x in (clean, dirty)
    ]
    assert losses[0] == losses[1]


def test_an_empty_completion_counts_as_nothing():
    zeros = torch.zeros(2, 2)
    result = grpo_loss(
        zeros, None, zeros, torch.ones(2), torch.tensor([[1, 1], [0, 0]]), beta=0.04, clip_range=(0.2, 0.2)
    )
    assert result.loss == -0.5  # (-1 + 0) / 2


def test_old_log_probs_default_to_the_current_ones():
    log_probs, advantages, mask = torch.randn(3, 4, requires_grad=True), torch.randn(3), torch.ones(3, 4)
    implied = grpo_loss(log_probs, None, None, advantages, mask, **SETTINGS)
    (gradient,) = torch.autograd.grad(implied.loss, log_probs)
    given = grpo_loss(log_probs, log_probs.detach(), None, advantages, mask, **SETTINGS)
    assert torch.equal(implied.loss, given.loss)
    torch.testing.assert_close(gradient, -(advantages[:, None] / 12).expand(3, 4))  # 3 sequences of 4 tokens


def test_unknown_averaging_and_missing_reference_are_refused():
    zeros, mask = torch.zeros(1, 1), torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"averaging='batch' is unknown.*sequence, token"):
        grpo_loss(zeros, None, zeros, zeros[0], mask, averaging="batch", **SETTINGS)
    with pytest.raises(ValueError, match="no reference log-probs"):
        grpo_loss(zeros, None, None, zeros[0], mask, beta=0.04, clip_range=(0.2, 0.2))
