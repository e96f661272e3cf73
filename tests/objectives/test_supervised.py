import torch

from museg.objectives.supervised import supervised_loss


def test_mean_over_tokens_not_over_completions():
    log_probs = torch.tensor([[-1.0, -7.0], [-2.0, -3.0]])
    mask = torch.tensor([[1, 0], [1, 1]])
    assert supervised_loss(log_probs, mask) == 2.0  # (1 + 2 + 3) / 3


def test_gradient_raises_the_kept_tokens_alone():
    log_probs = torch.full((2, 2), -1.0, requires_grad=True)
    supervised_loss(log_probs, torch.tensor([[1, 0], [1, 1]])).backward()
    third = -1 / 3
    torch.testing.assert_close(log_probs.grad, torch.tensor([[third, 0.0], [third, third]]))
