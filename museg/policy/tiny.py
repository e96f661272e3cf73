"""A Qwen2.5-VL of 624,960 parameters (by default), from random weights, that learns the synthetic task on a CPU."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.loading import Policy, as_policy
from museg.policy.lora import LoraSettings
from museg.policy.tiny_tokenizer import tiny_tokenizer

# As in the published checkpoints: positions per second of video. The library's own default differs.
TOKENS_PER_SECOND = 2


def build_tiny(
    *,
    hidden_size: int = 96,
    num_layers: int = 4,
    num_heads: int = 4,
    intermediate_size: int = 256,
    rope_theta: float = 10000.0,
    mrope_section: Sequence[int] = (6, 3, 3),
    vision_hidden_size: int = 48,
    vision_depth: int = 1,
    vision_num_heads: int = 4,
    vision_intermediate_size: int = 96,
    initializer_range: float = 0.06,
    seed: int,
    lora: LoraSettings | None = None,
) -> Policy:
    """Build the model with random weights that depend on `seed` alone, and its tokenizer.

    Args:
        rope_theta: base of the rotary frequencies. A small one suits prompts of a few dozen tokens, but leaves hardly
            any frequency slow enough to match what a query names with what a frame shows, wherever they stand.
        mrope_section: how many frequencies turn with time, height and width; adds up to half of a head's width.
        initializer_range: standard deviation of the initial weights. 0.02, the usual value, is too small for a model of
            this width: it doesn't learn to copy the query within hundreds of steps.
        lora: the adapter that will be trained in place of all weights, once they have learnt to answer.

    Raises:
        ValueError: when the heads don't divide the width or the rotary sections don't fill a head.
    """
    _check_widths(hidden_size, num_heads, mrope_section)
    decoder = {
        "hidden_size": hidden_size,
        "intermediate_size": intermediate_size,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_heads,
        "initializer_range": initializer_range,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": float(rope_theta),
            "mrope_section": list(mrope_section),
        },
    }
    tower = {
        "depth": vision_depth,
        "hidden_size": vision_hidden_size,
        "intermediate_size": vision_intermediate_size,
        "num_heads": vision_num_heads,
        "out_hidden_size": hidden_size,
        "initializer_range": initializer_range,
    }
    tokenizer = tiny_tokenizer()
    config = _config(decoder, tower, tokenizer.get_vocab())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    return as_policy(model, tokenizer, lora)


def _config(decoder: dict[str, Any], tower: dict[str, Any], vocabulary: Mapping[str, int]) -> Qwen2_5_VLConfig:
    """Complete the sizes by what every tiny model has: the tokenizer's ids, full attention in the tower, tied head."""
    decoder |= {
        "vocab_size": len(vocabulary),
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "bos_token_id": None,
        "eos_token_id": vocabulary["<|im_end|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }
    tower |= {"fullatt_block_indexes": list(range(tower["depth"])), "tokens_per_second": TOKENS_PER_SECOND}
    return Qwen2_5_VLConfig(
        text_config=decoder,
        vision_config=tower,
        image_token_id=vocabulary["<|image_pad|>"],
        video_token_id=vocabulary["<|video_pad|>"],
        vision_start_token_id=vocabulary["<|vision_start|>"],
        vision_end_token_id=vocabulary["<|vision_end|>"],
        tie_word_embeddings=True,
        dtype="float32",
    )


def _check_widths(hidden_size: int, num_heads: int, mrope_section: Sequence[int]) -> None:
    head_width = hidden_size // num_heads
    if hidden_size % num_heads or head_width % 2:
        raise ValueError(f"hidden_size={hidden_size} must be a multiple of 2 x num_heads={num_heads}")
    if len(mrope_section) != 3 or 2 * sum(mrope_section) != head_width:
        raise ValueError(
            f"mrope_section={list(mrope_section)} must be three numbers that add up to half of a head's width "
            f"(hidden_size / num_heads / 2 = {head_width / 2:g})"
        )
