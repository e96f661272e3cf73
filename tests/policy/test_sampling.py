import math

import pytest
import torch

from museg.policy.sampling import BLOCK_TOKENS, Chooser, inverse_cdf, nucleus, uniforms_of


def test_nucleus_by_hand():
    probs = torch.tensor([[0.1, 0.5, 0.15, 0.25]])
    # ordered 0.5, 0.25, 0.15, 0.1: 0.5 + 0.25 = 0.75 reaches 0.7; the first alone doesn't
    assert nucleus(probs, 0.7).tolist() == torch.tensor([[0.0, 0.5, 0.0, 0.25]]).tolist()
    assert nucleus(probs, 0.4).count_nonzero() == 1
    assert nucleus(probs, 1e-9).count_nonzero() == 1  # the likeliest always stays
    assert nucleus(probs, 1.0) is probs


def test_inverse_cdf_by_hand():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0]]).expand(5, -1)  # borders at 0, 1/4 and 1
    uniforms = torch.tensor([0.0, 0.2499, 0.25, 0.5, 1 - 2**-24], dtype=torch.float64)
    assert inverse_cdf(weights, uniforms).tolist() == [1, 1, 3, 3, 3]


@pytest.mark.parametrize("num_weights", [1, BLOCK_TOKENS - 1, BLOCK_TOKENS, 5 * BLOCK_TOKENS + 3])
def test_blocks_of_weights_are_one_distribution(num_weights):
    """The index is where one sum over all weights passes the height; zeros at all ends are not chosen."""
    generator = torch.Generator().manual_seed(num_weights)
    weights = torch.rand(40, num_weights, generator=generator) ** 4
    weights[:, 1::2] = 0
    uniforms = uniforms_of(1, 1, 40)[0]
    uniforms[0], uniforms[1] = 0, 1 - 2**-24
    cumulative = weights.double().cumsum(dim=1)
    expected = (cumulative <= (uniforms * cumulative[:, -1])[:, None]).sum(dim=1)
    found = inverse_cdf(weights, uniforms)
    assert torch.equal(found, expected) and (weights.gather(1, found[:, None]) > 0).all()


def test_a_chooser_by_hand():
    # of probabilities 1/8, 4/8, 2/8, 1/8 the second is banned: 1/4, 2/4, 1/4 of what is left lie below 0.25, 0.75 and 1
    logits = torch.tensor([1.0, 4.0, 2.0, 1.0]).log()
    banned, uniforms = torch.tensor([1]), torch.tensor([[0.2, 0.3, 0.7, 0.8], [0.8, 0.2, 0.2, 0.2]]).double()
    rows = torch.arange(4)
    tokens, log_probs = Chooser(banned, uniforms)(logits.repeat(4, 1), 0, rows)
    assert tokens.tolist() == [0, 2, 2, 3]
    # log-probabilities are those among all tokens
    assert log_probs.exp().tolist() == pytest.approx([1 / 8, 2 / 8, 2 / 8, 1 / 8])
    # the second step, given as a tensor, to the last rows only
    tokens, _ = Chooser(banned, uniforms)(logits.repeat(2, 1), torch.tensor([1]), rows[:2])
    assert tokens.tolist() == [3, 0]
    # squared, 1, 4 and 1 of 6; log-probabilities stay those of temperature 1
    tokens, log_probs = Chooser(banned, uniforms, temperature=0.5)(logits.repeat(4, 1), 0, rows)
    assert tokens.tolist() == [2, 2, 2, 2] and log_probs.exp().tolist() == pytest.approx([2 / 8] * 4)
    tokens, log_probs = Chooser(banned)(logits.repeat(2, 1), 0, rows[:2])
    assert tokens.tolist() == [2, 2] and log_probs.exp().tolist() == pytest.approx([2 / 8] * 2)


def test_a_chooser_without_banned_tokens_and_with_a_hopeless_rest():
    none = torch.tensor([], dtype=torch.long)
    tokens, log_probs = Chooser(none)(torch.tensor([[0.0, 1.0]]), 0, torch.arange(1))
    assert tokens.tolist() == [1] and log_probs.item() == pytest.approx(1 - math.log(1 + math.e))
    # the banned token is e^300 times likelier than the rest: the rest is drawn from all the same
    logits, uniforms = torch.tensor([[300.0, 0.0, 0.0]]), torch.tensor([[0.6]]).double()
    tokens, log_probs = Chooser(torch.tensor([0]), uniforms)(logits, 0, torch.arange(1))
    assert tokens.tolist() == [2] and log_probs.item() == pytest.approx(-300)


def test_weights_that_are_not_numbers_still_give_an_index():
    assert inverse_cdf(torch.full((1, 4), torch.nan), torch.tensor([0.5], dtype=torch.float64)).item() in range(4)


def test_uniform_numbers_belong_to_a_seed():
    draws = uniforms_of(7, 50, 8)
    assert draws.shape == (50, 8)
    assert torch.equal(draws, uniforms_of(7, 50, 8)) and not torch.equal(draws, uniforms_of(8, 50, 8))
    assert draws.unique().numel() == 400 and draws.min() >= 0 and draws.max() < 1
    # below one by at least 2^-24, so that scaling by a sum of probabilities cannot reach that sum
    assert (draws * 2**24 == (draws * 2**24).round()).all()
