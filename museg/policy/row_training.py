"""Training some rows of the embedding matrices alone, such as those of new tokens; all other rows keep their values.

Shapes: V rows of an embedding matrix; d width of the decoder.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

_HOOK = "trained_rows_hook"
"""Where a matrix keeps what holds its other rows."""


class EmbeddingModel(Protocol):
    """What is asked of a model."""

    def get_input_embeddings(self) -> nn.Module:
        """Its `weight` is [V, d]."""

    def get_output_embeddings(self) -> nn.Module:
        """The head; its `weight` is [V, d], and may be that of the input."""


def embedding_weights(model: EmbeddingModel) -> list[nn.Parameter]:
    """The matrices [V, d] at the input and at the output: one where they are tied, else two."""
    weights = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    return list({id(weight): weight for weight in weights}.values())


def train_rows_alone(model: EmbeddingModel, rows: Sequence[int]) -> list[nn.Parameter]:
    """Let these rows of the embedding matrices train and all others stay; returns the matrices.

    Gradients of the other rows become zeros on their way. An optimizer must not decay these matrices either
    (`parameter_groups`), nor have moments of them from before. `train_all_rows` undoes it. Whoever freezes or resizes
    the matrices later undoes it too, and so does FSDP, which puts parameters of its own in their place.
    """
    trained = list(rows)

    def of_rows(gradient: Tensor) -> Tensor:
        kept = torch.zeros_like(gradient)
        kept[trained] = gradient[trained]
        return kept

    weights = train_all_rows(model)
    for weight in weights:
        setattr(weight, _HOOK, weight.register_hook(of_rows))
    return weights


def train_all_rows(model: EmbeddingModel) -> list[nn.Parameter]:
    """Let all rows of the embedding matrices train, whatever held them; returns the matrices."""
    weights = embedding_weights(model)
    for weight in weights:
        weight.requires_grad_(True)
        if hook := weight.__dict__.pop(_HOOK, None):
            hook.remove()
    return weights


def held_matrices(model: EmbeddingModel) -> list[nn.Parameter]:
    """The matrices of which `train_rows_alone` lets but some rows train."""
    return [weight for weight in embedding_weights(model) if _HOOK in weight.__dict__]


def parameter_groups(parameters: Iterable[nn.Parameter], undecayed: Iterable[nn.Parameter]) -> list[dict[str, Any]]:
    """Groups for an optimizer, in the order given, of which the second, if any are `undecayed`, has no weight decay.

    Decay shrinks every number of a matrix, whatever its gradient.
    """
    spared = {id(parameter) for parameter in undecayed}
    decayed, others = [], []
    for parameter in parameters:
        (others if id(parameter) in spared else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
