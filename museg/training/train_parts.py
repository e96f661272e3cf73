"""Letting the parts learn that a phase names, and all others keep their values."""

from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.meco.tokens import structural_ids
from museg.phases.trained_parts import ALL, NEW_ROWS, TrainedParts
from museg.policy.adapter import TRAINED, is_of
from museg.policy.loading import Policy
from museg.policy.row_training import embedding_weights, train_all_rows, train_rows_alone


def train_parts(policy: Policy, heads: nn.Module | None, parts: TrainedParts) -> None:
    """Let `parts` of the policy, and of what a method trains beside it, learn from here on, and nothing else.

    An adapter must be on the model by now. Raises ValueError where rows of new tokens are to train and there are none.
    """
    trained = part_names(policy.model, parts, is_adapted=policy.lora is not None)
    for name, weight in policy.model.named_parameters():
        weight.requires_grad_(name in trained)
    if parts.embeddings == ALL:
        train_all_rows(policy.model)
    elif parts.embeddings == NEW_ROWS:
        train_rows_alone(policy.model, list(structural_ids(policy.tokenizer).kinds))
    if heads is not None:
        heads.requires_grad_(parts.heads)


def part_names(model: Qwen2_5_VLForConditionalGeneration, parts: TrainedParts, *, is_adapted: bool) -> set[str]:
    """The names of the weights in the model that belong to these parts; of embeddings whole matrices.

    `is_adapted`: an adapter learns in the place of the decoder's own weights.
    """
    embeddings = {id(weight) for weight in embedding_weights(model)}
    return {
        name
        for name, weight in model.named_parameters()
        if _is_chosen(name, parts, is_embedding=id(weight) in embeddings, is_adapted=is_adapted)
    }


def _is_chosen(name: str, parts: TrainedParts, *, is_embedding: bool, is_adapted: bool) -> bool:
    if is_embedding:
        return parts.embeddings in (ALL, NEW_ROWS)
    if name.startswith("model.visual."):
        return parts.projector if name.startswith("model.visual.merger.") else parts.vision
    return parts.language and (is_of(name, TRAINED) or not is_adapted)
