"""A policy of any size with random weights, with windows in its vision tower and key heads shared by query heads."""

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.loading import Policy, as_policy
from museg.policy.tiny_tokenizer import tiny_tokenizer


def sized_policy(
    *,
    hidden_size: int,
    num_layers: int,
    num_heads: int,
    num_key_value_heads: int,
    intermediate_size: int,
    vision_hidden_size: int,
    vision_depth: int,
    window_size_px: int = 112,
    vocab_size: int | None = None,
    initializer_range: float = 0.02,
) -> Policy:
    """A policy of these sizes, as the published ones are but for them; only the last vision layer has no windows.

    Half of the frequencies turn with time, a quarter each with height and width. `vocab_size`: ids of the head, None
    for the tiny tokenizer's own.
    """
    tokenizer, width = tiny_tokenizer(), hidden_size // num_heads
    section = [width // 4, width // 8, width // 8]
    text = {
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_key_value_heads,
        "initializer_range": initializer_range,
        "vocab_size": vocab_size or len(tokenizer),
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": section},
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    vision = {
        "depth": vision_depth,
        "hidden_size": vision_hidden_size,
        "intermediate_size": 3 * vision_hidden_size,
        "num_heads": 4,
        "out_hidden_size": hidden_size,
        "fullatt_block_indexes": [vision_depth - 1],
        "window_size": window_size_px,
        "initializer_range": initializer_range,
    }
    special = {f"{what}_token_id": tokenizer.convert_tokens_to_ids(f"<|{what}_pad|>") for what in ("image", "video")}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **special)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return as_policy(Qwen2_5_VLForConditionalGeneration(config), tokenizer)


def windowed_policy(dtype: torch.dtype = torch.float32) -> Policy:
    """Two query heads for each key head; 84 px are 6 x 6 patches, so windows of 4 x 4 are cut at both edges."""
    policy = sized_policy(
        hidden_size=64,
        num_layers=3,
        num_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        vision_hidden_size=32,
        vision_depth=2,
        window_size_px=56,
        initializer_range=0.1,
    )
    policy.model.to(dtype)
    return policy
