"""The published sizes of Qwen2.5-VL as data, and models of these sizes without memory behind their weights."""

import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.vision_attention import use_batched_windows

# Hub name -> what differs between the sizes. Source: config.json of the published checkpoints.
PUBLISHED_SIZES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}
VISION_TOWER = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "tokens_per_second": 2,
}


def published_config(name: str) -> Qwen2_5_VLConfig:
    """Return the configuration of a published checkpoint by its hub name, without asking the hub."""
    if name not in PUBLISHED_SIZES:
        raise ValueError(f"no published size is called {name!r}: choose one of {', '.join(PUBLISHED_SIZES)}")
    size = dict(PUBLISHED_SIZES[name])
    tie_word_embeddings = size.pop("tie_word_embeddings")
    rope = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [16, 24, 24]}
    return Qwen2_5_VLConfig(
        text_config={**size, "max_position_embeddings": 128000, "rms_norm_eps": 1e-6, "rope_parameters": rope},
        vision_config={**VISION_TOWER, "out_hidden_size": size["hidden_size"]},
        tie_word_embeddings=tie_word_embeddings,
    )


def meta_model(name: str) -> Qwen2_5_VLForConditionalGeneration:
    """Build a published size on the meta device: every shape is there, no weight is."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(published_config(name))
    use_batched_windows(model)
    return model
