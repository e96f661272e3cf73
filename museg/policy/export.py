"""A policy as an ordinary Hugging Face folder, which other software loads and serves without this package."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

from museg.files import share_as_usual
from museg.policy.loading import Policy, SpecialIds, without_progress_bars
from museg.video.budget import TEMPORAL_FACTOR, FrameBudget
from museg.video.patches import CLIP_MEAN, CLIP_STD

MAX_SHARD_SIZE = "5GB"
"""Larger weights are split over files of at most this size."""
# Pixel limits of the published Qwen2.5-VL preprocessor; facts for other software that reads an exported folder.
PUBLISHED_MIN_PIXELS, PUBLISHED_MAX_PIXELS = 3136, 12845056
LIBRARY_TOKEN_SHARE = 0.9
"""Of `max_video_tokens` the library's video processor lets a video have this share (transformers 5.23)."""


def export(
    policy: Policy, folder: Path, *, budget: FrameBudget | None = None, max_shard_size: str = MAX_SHARD_SIZE
) -> None:
    """Write weights, configuration, tokenizer with chat template, generation and pixel settings into `folder`.

    Args:
        policy: without an adapter (`museg.policy.adapter.merged`). From here on its model generates as the folder says.
        budget: how the policy was shown videos, for video_preprocessor_config.json; None leaves that file out, and the
            library takes its own limits.
        max_shard_size: of one file of weights, as the library understands it.
    """
    folder, vision = Path(folder), policy.model.config.vision_config
    policy.model.generation_config = generation_config(policy.ids)
    with without_progress_bars():
        policy.model.save_pretrained(folder, max_shard_size=max_shard_size)
    share_as_usual(*folder.glob("*.safetensors"))
    policy.tokenizer.save_pretrained(folder)
    _write(folder / "preprocessor_config.json", preprocessor_facts(vision))
    if budget is not None:
        _write(folder / "video_preprocessor_config.json", video_preprocessor_facts(vision, budget))


def generation_config(ids: SpecialIds) -> GenerationConfig:
    """How the policy answers here: the likeliest token throughout, no penalty, and never a placeholder of pixels.

    The published checkpoints bring a repetition penalty of 1.05, with which the answers would be others.
    """
    return GenerationConfig(
        do_sample=False,
        pad_token_id=ids.pad_id,
        eos_token_id=list(ids.stop_ids),
        suppress_tokens=list(ids.banned_ids),
    )


def preprocessor_facts(vision_config: Any) -> dict[str, Any]:
    """Return how the pixels of a picture become patches, in the words of Hugging Face's preprocessor_config.json."""
    return {
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "min_pixels": PUBLISHED_MIN_PIXELS,
        "max_pixels": PUBLISHED_MAX_PIXELS,
        **_patches(vision_config),
    }


def video_preprocessor_facts(vision_config: Any, budget: FrameBudget) -> dict[str, Any]:
    """Return the same for videos, with `budget` in the words of the library.

    `max_video_tokens` is the whole number that comes nearest to `budget.total_pixels`.
    """
    most_tokens = budget.total_pixels / budget.factor**2 / LIBRARY_TOKEN_SHARE
    return {
        "video_processor_type": "Qwen2VLVideoProcessor",
        "processor_class": "Qwen2_5_VLProcessor",
        "size": {"shortest_edge": budget.min_pixels, "longest_edge": budget.max_pixels},
        "cap_pixels_per_frame": True,
        "max_video_tokens": round(most_tokens),
        "do_sample_frames": True,
        "fps": budget.sample_rate_fps,
        "min_frames": max(budget.min_frames, TEMPORAL_FACTOR),
        **({} if budget.max_frames is None else {"max_frames": budget.max_frames}),
        **_patches(vision_config),
    }


def _patches(vision_config: Any) -> dict[str, Any]:
    return {
        "patch_size": vision_config.patch_size,
        "temporal_patch_size": vision_config.temporal_patch_size,
        "merge_size": vision_config.spatial_merge_size,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }


def _write(file: Path, facts: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
