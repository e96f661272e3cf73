"""Weights for the gap between sampling and training, against NumPy by hand."""

import math

import numpy as np
import pytest
import torch

from museg.objectives.grpo import grpo_loss
from museg.objectives.importance import importance

# Two completions of three and two tokens; the last slot of the second is padding and holds what must not matter.
LOG_PROBS = torch.tensor([[-1.0, -2.0, -0.5], [-1.5, -3.0, torch.inf]], dtype=torch.float64)
GAP = np.log([[3.0, 1.5, 0.1], [1.0, 0.6, 1.0]])
"""Of the five tokens one is 3 times as likely in training as in the rollout, one 1.5 times, one a tenth ..."""
ROLLOUT_LOG_PROBS = LOG_PROBS - torch.tensor(GAP)
MASK = torch.tensor([[1, 1, 1], [1, 1, 0]])
ADVANTAGES = torch.tensor([2.0, -1.0], dtype=torch.float64)
TRUNCATED = [[2.0, 1.5, 0.1], [1.0, 0.6, 1.0]]
MASKED = [[0.0, 1.5, 0.0], [1.0, 0.6, 1.0]]
SETTINGS = {"beta": 0.5, "clip_range": (0.2, 0.2)}


def found(correction: str, averaging: str = "sequence"):
    return importance(LOG_PROBS, ROLLOUT_LOG_PROBS, MASK, correction=correction, cap=2.0, averaging=averaging)


def loss_of(log_probs, correction, averaging="sequence", rows=slice(None), rollout_log_probs=ROLLOUT_LOG_PROBS):
    """Loss, and the module's result, of some of the completions."""
    mask = MASK[rows]
    weights = importance(
        log_probs[rows], rollout_log_probs[rows], mask, correction=correction, cap=2.0, averaging=averaging
    ).weights
    ref = torch.full_like(log_probs, -1.0)[rows]
    return grpo_loss(
        log_probs[rows], None, ref, ADVANTAGES[rows], mask, averaging=averaging, token_weights=weights, **SETTINGS
    )


def leaf() -> torch.Tensor:
    return torch.where(MASK.bool(), LOG_PROBS, 0.0).requires_grad_()


def test_weights_by_hand():
    assert found("off").weights is None
    torch.testing.assert_close(found("truncate").weights, torch.tensor(TRUNCATED, dtype=torch.float64))
    torch.testing.assert_close(found("mask").weights, torch.tensor(MASKED, dtype=torch.float64))


@pytest.mark.parametrize(("averaging", "truncated", "masked"), [("sequence", 1 / 6, 2 / 6), ("token", 1 / 5, 2 / 5)])
def test_the_gap_is_described(averaging, truncated, masked):
    # one of three tokens is truncated (3 > 2), another falls below 1/2; the other completion loses none
    assert found("off", averaging).corrected_share is None
    assert float(found("truncate", averaging).corrected_share) == pytest.approx(truncated)
    assert float(found("mask", averaging).corrected_share) == pytest.approx(masked)
    gaps = np.abs(GAP)
    means = {"sequence": (gaps[0].mean() + gaps[1, :2].mean()) / 2, "token": (gaps[0].sum() + gaps[1, :2].sum()) / 5}
    for correction in ("off", "truncate", "mask"):
        assert float(found(correction, averaging).largest) == pytest.approx(math.log(10))
        assert float(found(correction, averaging).mean) == pytest.approx(means[averaging])


@pytest.mark.parametrize("averaging", ["sequence", "token"])
@pytest.mark.parametrize(("correction", "weights"), [("truncate", TRUNCATED), ("mask", MASKED)])
def test_loss_and_gradient_by_hand(correction, weights, averaging):
    log_probs = leaf()
    loss = loss_of(log_probs, correction, averaging).loss
    loss.backward()
    mask, weights = MASK.numpy(), np.array(weights)
    gap = -1.0 - log_probs.detach().numpy()  # to the reference
    kl, kl_slope = np.exp(gap) - gap - 1, 1 - np.exp(gap)
    # The mean is over all tokens, masked ones too, and so is the KL term; the ratio is 1 with slope 1.
    share = mask / (mask.sum() if averaging == "token" else 2 * mask.sum(axis=1, keepdims=True))
    advantages = ADVANTAGES.numpy()[:, None]
    assert loss.item() == pytest.approx(((0.5 * kl - weights * advantages) * share).sum(), abs=1e-12)
    gradient = (0.5 * kl_slope - weights * advantages) * share
    np.testing.assert_allclose(log_probs.grad.numpy(), gradient, atol=1e-12)


def test_no_gradient_flows_through_the_weights():
    log_probs = leaf()
    assert not importance(
        log_probs, ROLLOUT_LOG_PROBS, MASK, correction="truncate", cap=2.0, averaging="token"
    ).weights.requires_grad


@pytest.mark.parametrize("correction", ["off", "truncate", "mask"])
def test_without_a_gap_or_switched_off_the_loss_is_the_plain_one_bit_by_bit(correction):
    generator = torch.Generator().manual_seed(0)
    log_probs = torch.randn(2, 3, generator=generator).requires_grad_()
    rollout = torch.randn(2, 3, generator=generator) if correction == "off" else log_probs.detach()
    plain = grpo_loss(log_probs, None, torch.full_like(log_probs, -1.0)[:], ADVANTAGES.float(), MASK, **SETTINGS).loss
    weights = importance(log_probs, rollout, MASK, correction=correction, cap=1.0, averaging="sequence").weights
    ours = grpo_loss(
        log_probs, None, torch.full_like(log_probs, -1.0), ADVANTAGES.float(), MASK, token_weights=weights, **SETTINGS
    ).loss
    assert torch.equal(ours, plain)
    assert torch.equal(*(torch.autograd.grad(loss, log_probs)[0] for loss in (ours, plain)))


@pytest.mark.parametrize("averaging", ["sequence", "token"])
@pytest.mark.parametrize("correction", ["truncate", "mask"])
def test_shares_of_micro_batches_add_up(correction, averaging):
    whole = loss_of(leaf(), correction, averaging)
    parts = [loss_of(leaf(), correction, averaging, rows) for rows in (slice(0, 1), slice(1, 2))]
    added = sum(part.loss * part.weight / whole.weight for part in parts)
    torch.testing.assert_close(added, whole.loss)
    described = importance(LOG_PROBS, ROLLOUT_LOG_PROBS, MASK, correction=correction, cap=2.0, averaging=averaging)
    for name in ("mean", "corrected_share"):
        shares = [
            getattr(
                importance(
                    LOG_PROBS[rows],
                    ROLLOUT_LOG_PROBS[rows],
                    MASK[rows],
                    correction=correction,
                    cap=2.0,
                    averaging=averaging,
                ),
                name,
            )
            * part.weight
            / whole.weight
            for rows, part in zip((slice(0, 1), slice(1, 2)), parts, strict=True)
        ]
        torch.testing.assert_close(sum(shares), getattr(described, name))


def test_unknown_corrections_and_caps_below_one_are_refused():
    with pytest.raises(ValueError, match=r"correction='clip' is unknown.*off, truncate, mask"):
        found("clip")
    with pytest.raises(ValueError, match=r"cap=0\.5 must be at least 1"):
        importance(LOG_PROBS, ROLLOUT_LOG_PROBS, MASK, correction="mask", cap=0.5, averaging="token")
