"""What `tests.benchmarks.gpu` runs: models with random weights, prompts of noise, and how they fit into the memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.data.examples import GroundingExample
from museg.policy.loading import DTYPES, Policy, as_policy
from museg.policy.positions import prompt_position_ids
from museg.policy.processing import PromptBatch
from museg.policy.sizes import DecoderSizes, TowerSizes, published_config
from museg.policy.tiny_tokenizer import tiny_tokenizer
from museg.training.step_memory import AUTOCAST, PATCHES_PER_TOKEN, Load, Shape, sampling, updating
from museg.video.patches import PATCH_VALUES
from tests.policy.sized_policy import sized_policy

GIB = 2**30
PUBLISHED = {"3b": "Qwen/Qwen2.5-VL-3B-Instruct", "7b": "Qwen/Qwen2.5-VL-7B-Instruct"}
MODELS = ("tiny", *PUBLISHED)
TINY = {
    "hidden_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vision_hidden_size": 32,
    "vision_depth": 2,
    "window_size_px": 56,
}


@dataclass(frozen=True)
class Setting:
    """What a step reads and writes: patches of a video in time, height and width; tokens; generations; prompts."""

    grid: tuple[int, int, int]
    text_tokens: int
    completion_tokens: int
    generations: int
    prompts: int

    @property
    def video_tokens(self) -> int:
        """Placeholders of a video: one for every four patches."""
        return self.grid[0] * self.grid[1] * self.grid[2] // PATCHES_PER_TOKEN

    @property
    def prompt_tokens(self) -> int:
        """Tokens of a prompt."""
        return self.video_tokens + self.text_tokens

    def __str__(self) -> str:
        return f"{self.prompt_tokens}x{self.completion_tokens}x{self.generations}"


# 448 frames of 112 x 112 px are 3,584 video tokens; a step has 14 prompts with 8 completions each. The context of 4,096
# tokens leaves a completion about 300. Source: THUNLP-MT/MUSEG 889565e, src/train.py and training scripts.
RELEASED = Setting(grid=(224, 8, 8), text_tokens=116, completion_tokens=300, generations=8, prompts=14)
QUICK = Setting(grid=(3, 6, 6), text_tokens=13, completion_tokens=6, generations=3, prompts=2)


@dataclass(frozen=True)
class Storage:
    """Bytes that every trained number takes, by role, and whether this benchmark can train that way.

    `copies` are the bfloat16 casts that autocast keeps of float32 weights for the length of a step.
    """

    name: str
    weights: int
    gradients: int
    moments: int
    reference: int
    copies: int
    is_offered: bool = True

    @property
    def num_bytes(self) -> int:
        """Bytes in all roles."""
        return self.weights + self.gradients + self.moments + self.reference + self.copies

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return DTYPES["float32"] if self.weights == 4 else DTYPES["bfloat16"]

    @property
    def reference_dtype(self) -> torch.dtype:
        """The type of the reference's weights."""
        return DTYPES["float32"] if self.reference == 4 else DTYPES["bfloat16"]


# From what training asks for to what is enough to measure: weights kept in bfloat16 would not move at a learning rate
# of 1.5e-6, but what a step costs does not depend on that. What is not offered needs code of its own or,
# for 8 bits, a library (optimizer.kind=adamw_8bit) that this benchmark does not count on.
STORAGES = (
    Storage("float32", weights=4, gradients=4, moments=8, reference=4, copies=2),
    Storage("float32, reference in bfloat16", weights=4, gradients=4, moments=8, reference=2, copies=2),
    Storage("float32, reference on the host", 4, 4, 8, 0, 2, is_offered=False),
    Storage("float32, moments in bfloat16, reference in bfloat16", 4, 4, 4, 2, 2, is_offered=False),
    Storage("float32, moments in 8 bits, reference in bfloat16", 4, 4, 2, 2, 2, is_offered=False),
    Storage("all in bfloat16", weights=2, gradients=2, moments=4, reference=2, copies=0),
)
SPARE_GIB = 3.0
"""Our choice for what is not counted: scratch memory of kernels, and what the allocator cannot use again."""


def working_gib(model: str) -> float:
    """Room for activations and caches beside the models, as `dry_run=memory` counts them: all prompts at once."""
    config, setting = config_of(model), QUICK if model == "tiny" else RELEASED
    sizes = DecoderSizes.of(config.text_config), TowerSizes.of(config.vision_config)
    shape = Shape(*sizes, AUTOCAST, checkpointing=True, is_on_gpu=True)
    load = Load(
        prompts=setting.prompts,
        micro_batch_prompts=1,
        held_out_prompts=0,
        prompt_tokens=setting.prompt_tokens,
        patches=PATCHES_PER_TOKEN * setting.video_tokens,
        generations=setting.generations,
        completion_tokens=setting.completion_tokens,
    )
    return max(sampling(shape, load.prompts, load.generations, load), updating(shape, load)) / GIB + SPARE_GIB


def needed_gib(model: str, storage: Storage, num_parameters: int) -> float:
    """Memory for the models in that storage and the work on them."""
    return num_parameters * storage.num_bytes / GIB + working_gib(model)


def chosen_storage(model: str, num_parameters: int, capacity_gib: float) -> Storage:
    """The first that is offered and fits; ValueError where none does."""
    for storage in STORAGES:
        if storage.is_offered and needed_gib(model, storage, num_parameters) <= capacity_gib:
            return storage
    least = needed_gib(model, STORAGES[-1], num_parameters)
    raise ValueError(
        f"--model {model} needs {least:.0f} GiB with {STORAGES[-1].name}, and the device has {capacity_gib:.0f}: "
        "take a smaller model or a larger device"
    )


def memory_table(model: str, num_parameters: int, capacity_gib: float) -> str:
    """Needed memory by storage, for people."""
    lines = [f"{num_parameters / 1e9:.2f} billion parameters on a device of {capacity_gib:.1f} GiB"]
    for storage in STORAGES:
        needed = needed_gib(model, storage, num_parameters)
        fits = "fits" if needed <= capacity_gib else "does not fit"
        offered = "" if storage.is_offered else " (not offered here)"
        lines.append(f"{needed:8.1f} GiB  {storage.num_bytes:2d} bytes a parameter  {storage.name}: {fits}{offered}")
    return "\n".join(lines)


def config_of(model: str) -> Qwen2_5_VLConfig:
    """The configuration of one of `MODELS`."""
    if model in PUBLISHED:
        return published_config(PUBLISHED[model])
    return Qwen2_5_VLConfig.from_dict(sized_policy(**TINY).model.config.to_dict())


def size_of(config: Qwen2_5_VLConfig) -> int:
    """Parameters of a model, tied ones once; takes no memory for them."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    return sum(parameter.numel() for parameter in model.parameters())


def random_policy(config: Qwen2_5_VLConfig, device: torch.device, dtype: torch.dtype) -> Policy:
    """A policy whose random weights are made on the device.

    The tiny tokenizer stands in for the published one; ids that it has no token for may be sampled all the same, so
    that the work is that of the whole vocabulary.
    """
    with torch.device(device), _default_dtype(dtype):
        policy = as_policy(Qwen2_5_VLForConditionalGeneration(config), tiny_tokenizer())
    ids = policy.ids
    pixels = tuple(sorted({ids.video_id, ids.image_id, ids.vision_start_id, ids.vision_end_id}))
    return replace(policy, ids=replace(ids, banned_ids=pixels))


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make new weights in that type; rotary frequencies stay in float32, as when a checkpoint is loaded."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def made_prompts(policy: Policy, setting: Setting, num_prompts: int) -> PromptBatch:
    """Prompts of random words, each about a video of noise that lasts a second per frame pair."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 256, (num_prompts, setting.prompt_tokens), generator=generator)
    ids[:, 8] = policy.ids.vision_start_id
    ids[:, 9 : 9 + setting.video_tokens] = policy.ids.video_id
    ids[:, 9 + setting.video_tokens] = policy.ids.vision_end_id
    grid, seconds = torch.tensor([setting.grid] * num_prompts), torch.ones(num_prompts)
    positions = prompt_position_ids(ids, torch.ones_like(ids), grid, seconds, video_id=policy.ids.video_id)
    pixels = torch.randn(int(grid.prod(dim=1).sum()), PATCH_VALUES, device=policy.device)
    return PromptBatch(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=pixels,
        grid_thw=grid,
        second_per_grid_ts=seconds,
        filled_steps=(float(setting.grid[0]),) * num_prompts,
        position_ids=positions[0],
        next_position=positions[1],
        examples=tuple(GroundingExample(f"noise:{i}", "", "", (), None, "tvg", "noise") for i in range(num_prompts)),
    ).to(policy.device)


def made_completions(policy: Policy, setting: Setting, num_prompts: int) -> tuple[Tensor, Tensor]:
    """Completions of random words at their full length: ids and mask [N, C]."""
    shape = (num_prompts * setting.generations, setting.completion_tokens)
    ids = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(1)).to(policy.device)
    return ids, torch.ones_like(ids, dtype=torch.bool)
