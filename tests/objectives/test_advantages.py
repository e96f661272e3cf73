import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from museg.objectives.advantages import group_advantages


def test_hand_example():
    # rewards 0, 1, 2: mean 1, unbiased deviation sqrt((1 + 0 + 1) / 2) = 1, so -1 / 1.0001, 0, 1 / 1.0001
    advantages = group_advantages(torch.tensor([[0.0, 1.0, 2.0]]))
    torch.testing.assert_close(advantages, torch.tensor([[-0.99990001, 0.0, 0.99990001]]))


def test_unscaled_is_the_distance_to_the_mean():
    torch.testing.assert_close(
        group_advantages(torch.tensor([[0.0, 1.0, 5.0]]), scale=False), torch.tensor([[-2.0, -1.0, 3.0]])
    )


def test_groups_are_compared_within_themselves():
    groups = torch.tensor([[0.0, 1.0], [100.0, 101.0]])
    advantages = group_advantages(groups)
    torch.testing.assert_close(advantages[0], advantages[1])


@given(st.floats(-1e6, 1e6), st.integers(2, 9), st.sampled_from([torch.float32, torch.float64]))
def test_equal_rewards_give_exactly_zero(reward, num_generations, dtype):
    # the mean of seven times 0.1 isn't 0.1 in floating point; divided by 1e-4 that would be a signal
    assert group_advantages(torch.full((1, num_generations), reward, dtype=dtype)).eq(0).all()


@pytest.mark.parametrize("shape", [(4, 1), (4,), (0,)])
def test_a_group_needs_two_members(shape):
    with pytest.raises(ValueError, match=r"generations >= 2.*num_generations"):
        group_advantages(torch.zeros(shape))
