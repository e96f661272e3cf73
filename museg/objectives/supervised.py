"""Maximum likelihood of given completions.

Shapes: N completions; C completion tokens.
"""

from torch import Tensor

from museg.objectives.grpo import masked_mean


def supervised_loss(log_probs: Tensor, mask: Tensor) -> Tensor:
    """Return the mean negative log-probability, in nats per token, of the tokens that `mask` [N, C] keeps."""
    return -masked_mean(log_probs, mask, "token")
