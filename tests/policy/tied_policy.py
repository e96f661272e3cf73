"""A small policy whose matrices of embeddings are one or two, and as long as the vocabulary or longer."""

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.loading import Policy, as_policy
from museg.policy.row_training import EmbeddingModel, embedding_weights
from museg.policy.tiny import build_tiny


def tiny_policy(*, tied: bool = True, num_unnamed: int = 0) -> Policy:
    """`num_unnamed` rows stand for no token; not `tied`: the matrices are each its own. Both as published."""
    policy = build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1)
    config = Qwen2_5_VLConfig.from_dict(policy.model.config.to_dict() | {"tie_word_embeddings": tied})
    config.text_config.vocab_size += num_unnamed
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return as_policy(Qwen2_5_VLForConditionalGeneration(config), policy.tokenizer)


def rows_of(model: EmbeddingModel) -> list[torch.Tensor]:
    """A copy of each matrix."""
    return [weight.detach().clone() for weight in embedding_weights(model)]
