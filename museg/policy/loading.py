"""A Qwen2.5-VL policy from a checkpoint: a name on the Hugging Face hub, or a folder."""

import importlib.util
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from museg.policy.fallback import reason, tell
from museg.policy.lora import LoraSettings
from museg.policy.patch_embedding import use_linear_patches
from museg.policy.vision_attention import use_batched_windows

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
EXPORTED = "exported"
"""The folder of a training run that holds its final model."""
ATTENTION_KERNELS = ("sdpa", "flash_attention_2")
AUTO = "auto"
"""Stands for the kernel that suits the machine: see `chosen_attention`."""
FLASH_CAPABILITY = (8, 0)
"""The least compute capability of a GPU that flash-attn 2 works on, as its README states."""
TOKENS = {
    "eos_id": "<|im_end|>",
    "pad_id": "<|endoftext|>",
    "video_id": "<|video_pad|>",
    "image_id": "<|image_pad|>",
    "vision_start_id": "<|vision_start|>",
    "vision_end_id": "<|vision_end|>",
}
MAX_NAMED = 3
"""Weights that a message names."""


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Token ids with a role.

    `stop_ids` end a completion (end of turn, end of text). `banned_ids` may never be sampled: placeholders of pixels,
    vision marks, and ids of the output layer that no token stands for.
    """

    eos_id: int
    pad_id: int
    video_id: int
    image_id: int
    vision_start_id: int
    vision_end_id: int
    stop_ids: tuple[int, ...]
    banned_ids: tuple[int, ...]


@dataclass
class Policy:
    """A model with the tokenizer and the special ids that belong to it.

    `lora`: the adapter it is to be trained through (`museg.policy.adapter`); None where its own weights train.
    """

    model: Qwen2_5_VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    ids: SpecialIds
    lora: LoraSettings | None = None

    def __post_init__(self) -> None:
        if self.lora is not None and not self.lora.rank:
            self.lora = None

    @property
    def device(self) -> torch.device:
        return self.model.lm_head.weight.device


def special_ids(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> SpecialIds:
    """Look the special tokens up; a tokenizer that lacks one is not Qwen2.5-VL's and raises ValueError."""
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in TOKENS.values() if token not in vocabulary]
    if missing:
        raise ValueError(f"the tokenizer has no {', '.join(missing)}: a Qwen2.5-VL tokenizer is needed")
    ids = {role: vocabulary[token] for role, token in TOKENS.items()}
    pixels = {ids["video_id"], ids["image_id"], ids["vision_start_id"], ids["vision_end_id"]}
    unnamed = set(range(vocab_size)) - set(vocabulary.values())
    extra = {vocabulary[token] for token in ("<|vision_pad|>",) if token in vocabulary}
    banned = tuple(sorted(pixels | extra | unnamed))
    return SpecialIds(**ids, stop_ids=(ids["eos_id"], ids["pad_id"]), banned_ids=banned)


def as_policy(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerBase, lora: LoraSettings | None = None
) -> Policy:
    """Join a model and its tokenizer, and let the vision tower work in few large calls."""
    use_linear_patches(model)
    if model.config._attn_implementation != "flash_attention_2":
        use_batched_windows(model)
    return Policy(model, tokenizer, special_ids(tokenizer, model.config.text_config.vocab_size), lora)


def load_pretrained(
    *,
    path: str,
    dtype: str = "float32",
    attention: str = "sdpa",
    frozen: Mapping[str, bool] | None = None,
    gradient_checkpointing: bool = False,
    lora: LoraSettings | None = None,
) -> Policy:
    """Load a Qwen2.5-VL checkpoint for training.

    Args:
        path, dtype, attention: as for `load_checkpoint`, whose errors are raised.
        frozen: which of "vision", "projector" and "language" keep their weights; absent means trained.
        gradient_checkpointing: recompute activations in the backward pass (the non-reentrant way).
        lora: the adapter that will be trained in place of all weights.

    Raises ValueError for an unknown part.
    """
    policy = replace(load_checkpoint(path, dtype=dtype, attention=attention), lora=lora)
    freeze(policy.model, frozen or {})
    if gradient_checkpointing:
        # its successor activation_checkpointing_enable is not in every supported version; this name goes with version 6
        has_dropout = policy.lora is not None and policy.lora.dropout > 0  # else there is no random state to keep
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*gradient_checkpointing_enable.*", FutureWarning)
            policy.model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": has_dropout})
    return policy


def load_checkpoint(path: str, *, dtype: str = "float32", attention: str = "sdpa", named: str = "model.path") -> Policy:
    """Load a Qwen2.5-VL checkpoint, all of it trained.

    Args:
        path: a folder, or a name on the Hugging Face hub.
        dtype: "float32" or "bfloat16", of the weights.
        attention: "sdpa", "flash_attention_2" where flash-attn is installed, or "auto" (`chosen_attention`).
        named: the option that `path` was given with, for messages.

    Raises:
        ValueError: for an unknown dtype or kernel, when the checkpoint cannot be found or reached, and when it is
            damaged, lacks weights, or holds weights that the model has no place for.
    """
    _check_choice("dtype", dtype, DTYPES)
    attention = chosen_attention(attention)
    asked = f"{named}={path!r}"
    with _told_as_damage(path, asked):
        model_type = PreTrainedConfig.get_config_dict(path)[0].get("model_type")
    if model_type != "qwen2_5_vl":
        raise ValueError(
            f"{asked} holds no Qwen2.5-VL checkpoint: config.json there should have model_type "
            f"'qwen2_5_vl', not {model_type!r}"
        )
    is_another = torch.distributed.is_initialized() and torch.distributed.get_rank() > 0
    with _told_as_damage(path, asked), without_progress_bars() if is_another else nullcontext():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
        model, found = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            path,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are told with the missing ones
        )
    _check_weights(asked, found)
    return as_policy(model, tokenizer)


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep the library's own bars off the terminal, where a run or another process shows its progress."""
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers.utils.logging.enable_progress_bar()


@contextmanager
def _told_as_damage(path: str, asked: str) -> Iterator[None]:
    """Turn what the library raises for files that are not there or broken off into a ValueError with the remedy."""
    try:
        yield
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error, OSError) and not os.path.isdir(path):
            raise ValueError(
                f"{asked} could not be loaded: it is neither a checkpoint folder here nor a reachable "
                f"model of the Hugging Face hub. Give a local folder, or download it first and set HF_HOME. ({error})"
            ) from error
        raise ValueError(
            f"{asked} is incomplete or damaged: copy the checkpoint again. ({type(error).__name__}: {error})"
        ) from error


def _check_weights(asked: str, found: Mapping[str, Any]) -> None:
    """Raise ValueError where weights of the model would stay random or weights of the files unused.

    `found` is what the library says about loading; it leaves out weights that are tied to others.
    """
    of_other_shape = [f"{name} {list(stored)} for {list(wanted)}" for name, stored, wanted in found["mismatched_keys"]]
    faults = {
        "lacks": sorted(found["missing_keys"]),
        "has in other shapes": sorted(of_other_shape),
        "has, but the model has not,": sorted(found["unexpected_keys"]),
    }
    told = [
        f"it {what} {len(names)}: {', '.join(names[:MAX_NAMED])}{', ...' if len(names) > MAX_NAMED else ''}"
        for what, names in faults.items()
        if names
    ]
    if told:
        raise ValueError(
            f"{asked} holds other weights than the model of its config.json has; {'; '.join(told)}. "
            "Copy the checkpoint again, or export it as a whole Qwen2.5-VL model"
        )


def chosen_attention(asked: str, *, in_half: bool = True) -> str:
    """The kernel that `asked` stands for. Raises ValueError for one that is unknown or not installed.

    "auto" is flash_attention_2 where flash-attn works and arithmetic is in half precision on a GPU, else sdpa, and one
    line says why. `in_half`: whether it will be, as far as the caller knows.
    """
    if asked != AUTO:
        check_attention(asked)
        return asked
    why_not = _why_not_flash_attention(in_half)
    if why_not is None:
        return "flash_attention_2"
    tell(f"attention is sdpa and not flash_attention_2: {why_not}")
    return "sdpa"


def _why_not_flash_attention(in_half: bool) -> str | None:
    if not in_half:
        return "it needs half precision on a GPU"
    if not torch.cuda.is_available():
        return "there is no GPU"
    if torch.cuda.get_device_capability() < FLASH_CAPABILITY:
        return f"the GPU's compute capability is below {'.'.join(map(str, FLASH_CAPABILITY))}"
    try:
        importlib.import_module("flash_attn")
    except (ImportError, OSError) as error:  # absent, or built for another torch
        return f"flash-attn cannot be loaded ({reason(error)})"
    return None


def check_attention(attention: str) -> None:
    """Raise ValueError for a kernel that is unknown or not installed."""
    _check_choice("attention", attention, ATTENTION_KERNELS)
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        raise ValueError(
            "attention=flash_attention_2 needs the package flash-attn, which is not installed: "
            "pip install -e '.[flash]' --no-build-isolation, or choose sdpa"
        )


def freeze(model: Qwen2_5_VLForConditionalGeneration, frozen: Mapping[str, bool]) -> None:
    """Stop gradients for the named parts: "vision" (tower), "projector" (its merger), "language" (decoder and head)."""
    visual, language = model.model.visual, model.model.language_model
    parts = {
        "vision": [p for name, p in visual.named_parameters() if not name.startswith("merger.")],
        "projector": list(visual.merger.parameters()),
        "language": [*language.parameters(), *model.lm_head.parameters()],
    }
    for part, is_frozen in frozen.items():
        _check_choice("frozen part", part, parts)
        for parameter in parts[part]:
            parameter.requires_grad_(not is_frozen)


def _check_choice(what: str, value: str, choices: Any) -> None:
    if value not in choices:
        raise ValueError(f"{what}={value!r} is unknown: choose one of {', '.join(choices)}")
