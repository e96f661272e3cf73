"""The structural tokens in a tokenizer and a model: their ids, their rows, and training these rows alone.

Shapes: V rows of the embedding matrix; d width of the decoder; L tokens of a row.

They are added as ordinary tokens, not as special ones, so that they stay in texts that are decoded without special
tokens; any text that is encoded can hold them, which is why `museg.dialogue.prompts` breaks them apart in queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from museg.meco.structure import Kind

_HOOK = "structural_rows_hook"
"""Where a matrix keeps what holds its other rows."""


class Tokenizer(Protocol):
    """What is asked of a tokenizer."""

    def get_vocab(self) -> Mapping[str, int]:
        """Ids by token."""

    def add_tokens(self, new_tokens: Sequence[str]) -> int:
        """Give ids to those that have none."""


class LanguageModel(Protocol):
    """What is asked of a model."""

    def get_input_embeddings(self) -> nn.Module:
        """Its `weight` is [V, d]."""

    def get_output_embeddings(self) -> nn.Module:
        """The head; its `weight` is [V, d], and may be that of the input."""

    def resize_token_embeddings(self, new_num_tokens: int, *, mean_resizing: bool) -> nn.Module:
        """Change V of both."""


@dataclass(frozen=True)
class StructuralIds:
    """The tokens' ids."""

    event_id: int
    transition_id: int

    @property
    def kinds(self) -> dict[int, Kind]:
        """What each id stands for."""
        return {self.event_id: Kind.EVENT, self.transition_id: Kind.TRANSITION}

    def is_structural(self, token_ids: Tensor) -> Tensor:
        """Whether each of `token_ids` is one of them: bool, of the same shape."""
        return (token_ids == self.event_id) | (token_ids == self.transition_id)

    def comes_next(self, token_ids: Tensor) -> Tensor:
        """Whether the token after each of `token_ids` [..., L] in its row is one of them: bool [..., L].

        These are the places whose states stand for the structural tokens: a token's own state comes too late.
        """
        return pad(self.is_structural(token_ids)[..., 1:], (0, 1))


def structural_ids(tokenizer: Tokenizer) -> StructuralIds:
    """Look the tokens up; raises ValueError for a tokenizer that lacks one."""
    vocabulary = tokenizer.get_vocab()
    missing = [kind.value for kind in Kind if kind.value not in vocabulary]
    if missing:
        raise ValueError(f"the tokenizer has no {', '.join(missing)}: call add_structural_tokens first")
    return StructuralIds(vocabulary[Kind.EVENT.value], vocabulary[Kind.TRANSITION.value])


def add_structural_tokens(tokenizer: Tokenizer, model: LanguageModel) -> StructuralIds:
    """Make the tokens known to both, in place, and return their ids; what knows them already is left as it is.

    The matrices grow only where they have no row for a token: the published ones are longer than the vocabulary. The
    row of a new token is the mean of its own half of the rows of all older tokens, at the input and at the output.

    To be called before anything holds on to the model's weights or to the ids that no token stood for: an optimizer, an
    adapter, a copy, `museg.policy.loading.special_ids`.
    """
    known, num_rows = tokenizer.get_vocab(), len(model.get_input_embeddings().weight)
    tokenizer.add_tokens([kind.value for kind in Kind])
    ids = structural_ids(tokenizer)
    new = {token_id for token_id, kind in ids.kinds.items() if kind.value not in known or token_id >= num_rows}
    if new:
        _grow(model, max(new) + 1)
        for weight in embedding_weights(model):
            _initialise(weight, ids, new)
    return ids


def embedding_weights(model: LanguageModel) -> list[nn.Parameter]:
    """The matrices [V, d] at the input and at the output: one where they are tied, else two."""
    weights = (model.get_input_embeddings().weight, model.get_output_embeddings().weight)
    return list({id(weight): weight for weight in weights}.values())


def train_rows_alone(model: LanguageModel, ids: StructuralIds) -> list[nn.Parameter]:
    """Let the structural rows of the embedding matrices train and all others stay; returns the matrices.

    Gradients of the other rows become zeros on their way. An optimizer must not decay these matrices either
    (`parameter_groups`), nor have moments of them from before. `train_all_rows` undoes it. Whoever freezes or resizes
    the matrices later undoes it too, and so does FSDP, which puts parameters of its own in their place.
    """
    rows = list(ids.kinds)

    def of_rows(gradient: Tensor) -> Tensor:
        kept = torch.zeros_like(gradient)
        kept[rows] = gradient[rows]
        return kept

    weights = train_all_rows(model)
    for weight in weights:
        setattr(weight, _HOOK, weight.register_hook(of_rows))
    return weights


def train_all_rows(model: LanguageModel) -> list[nn.Parameter]:
    """Let all rows of the embedding matrices train, whatever held them; returns the matrices."""
    weights = embedding_weights(model)
    for weight in weights:
        weight.requires_grad_(True)
        if hook := weight.__dict__.pop(_HOOK, None):
            hook.remove()
    return weights


def held_matrices(model: LanguageModel) -> list[nn.Parameter]:
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


def _grow(model: LanguageModel, num_rows: int) -> None:
    """Give the matrices at least `num_rows` rows."""
    weight = model.get_input_embeddings().weight
    if num_rows > len(weight):
        # the library draws the new rows before they are written here
        with torch.random.fork_rng(devices=[weight.device] if weight.is_cuda else []):
            model.resize_token_embeddings(num_rows, mean_resizing=False)


@torch.no_grad()
def _initialise(weight: nn.Parameter, ids: StructuralIds, new: Iterable[int]) -> None:
    """Write the rows of the `new` tokens. Rows behind them stand for nothing, and are not asked."""
    halves = weight[: min(ids.kinds)].tensor_split(2)
    wide = torch.promote_types(weight.dtype, torch.float32)
    for token_id, half in zip(ids.kinds, halves, strict=True):
        if token_id in new:
            weight[token_id] = half.mean(dim=0, dtype=wide)
