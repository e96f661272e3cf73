import torch

from museg.policy.sampling import inverse_cdf, nucleus, uniforms_of


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


def test_weights_that_are_not_numbers_still_give_an_index():
    assert inverse_cdf(torch.full((1, 4), torch.nan), torch.tensor([0.5], dtype=torch.float64)).item() in range(4)


def test_uniform_numbers_belong_to_a_seed():
    draws = uniforms_of(7, 50, 8)
    assert draws.shape == (50, 8)
    assert torch.equal(draws, uniforms_of(7, 50, 8)) and not torch.equal(draws, uniforms_of(8, 50, 8))
    assert draws.unique().numel() == 400 and draws.min() >= 0 and draws.max() < 1
    # below one by at least 2^-24, so that scaling by a sum of probabilities cannot reach that sum
    assert (draws * 2**24 == (draws * 2**24).round()).all()
