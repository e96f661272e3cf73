"""The published sizes of Qwen2.5-VL as data, and models of these sizes without memory behind their weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of the language model, and what follows from them."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    key_heads: int
    vocabulary: int

    @classmethod
    def of(cls, text_config: Any) -> "DecoderSizes":
        """From transformers' configuration."""
        return cls(
            text_config.num_hidden_layers,
            text_config.hidden_size,
            text_config.intermediate_size,
            text_config.num_attention_heads,
            text_config.num_key_value_heads,
            text_config.vocab_size,
        )

    @property
    def key_width(self) -> int:
        """Numbers in the keys of a token in one layer, as many as in its values."""
        return self.hidden * self.key_heads // self.heads

    @property
    def weights(self) -> int:
        """Weights in the matrices of all layers."""
        return self.layers * (2 * self.hidden**2 + 2 * self.hidden * self.key_width + 3 * self.hidden * self.ffn)

    @property
    def head_weights(self) -> int:
        """Weights in the matrix from hidden states to logits."""
        return self.hidden * self.vocabulary

    @property
    def cached_values(self) -> int:
        """Numbers that a token leaves in the caches of all layers."""
        return 2 * self.layers * self.key_width


@dataclass(frozen=True)
class TowerSizes:
    """Sizes of the vision tower; lengths of windows in patches."""

    depth: int
    full_layers: int
    hidden: int
    ffn: int
    heads: int
    patch_values: int
    window: int
    merge: int
    out: int

    @classmethod
    def of(cls, vision_config: Any) -> "TowerSizes":
        """From transformers' configuration."""
        return cls(
            vision_config.depth,
            len(vision_config.fullatt_block_indexes),
            vision_config.hidden_size,
            vision_config.intermediate_size,
            vision_config.num_heads,
            vision_config.in_channels * vision_config.temporal_patch_size * vision_config.patch_size**2,
            vision_config.window_size // vision_config.patch_size,
            vision_config.spatial_merge_size,
            vision_config.out_hidden_size,
        )


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


def config_of(path: str) -> Qwen2_5_VLConfig:
    """Return the configuration of a checkpoint: that of a folder, or a published one by its hub name; asks no hub.

    Raises ValueError for what is neither.
    """
    if not Path(path).is_dir():
        return published_config(path)
    if not (Path(path) / "config.json").is_file():
        raise ValueError(f"{path} has no config.json: give the folder of a checkpoint")
    return Qwen2_5_VLConfig.from_pretrained(path, local_files_only=True)


def meta_model(path: str) -> Qwen2_5_VLForConditionalGeneration:
    """Build a model of the size of a checkpoint on the meta device: every shape is there, no weight is."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(path))
    use_batched_windows(model)
    return model
