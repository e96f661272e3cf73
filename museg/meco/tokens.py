"""The structural tokens in a tokenizer and a model: their ids, and the rows that stand for them.

Shapes: V rows of the embedding matrix; d width of the decoder.

They are added as ordinary tokens, not as special ones, so that they stay in texts that are decoded without special
tokens; any text that is encoded can hold them, which is why `museg.dialogue.prompts` breaks them apart in queries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from museg.meco.structure import Kind
from museg.policy.row_training import EmbeddingModel, embedding_weights


class Tokenizer(Protocol):
    """What is asked of a tokenizer."""

    def get_vocab(self) -> Mapping[str, int]:
        """Ids by token."""

    def add_tokens(self, new_tokens: Sequence[str]) -> int:
        """Give ids to those that have none."""


class LanguageModel(EmbeddingModel, Protocol):
    """What is asked of a model."""

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
