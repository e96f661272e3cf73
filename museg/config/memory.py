"""What settings will need of memory: `python train.py ... dry_run=memory` prints it and runs nothing.

Only sizes are looked at: the model is built on the meta device, which has no memory, and nothing is asked of a network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from museg.config.host_memory import WEIGHT_BYTES, HostBytes, host_bytes, host_line
from museg.config.learning_weights import learning
from museg.config.methods import is_reinforced
from museg.config.step_load import load_of, text_tokens, with_short_videos
from museg.policy.loading import freeze
from museg.policy.sizes import DecoderSizes, TowerSizes, meta_model
from museg.targets import TARGET, build
from museg.training.memory import MOMENTS_BYTES, Counted, Holding, Plan, by_deepspeed, by_fsdp, peak, plan, whole
from museg.training.memory_table import as_table, gpu_room, host_room, size_text, too_few, verdict
from museg.training.step_memory import (
    AUTOCAST,
    BFLOAT16,
    FLOAT32,
    FLOAT32_BYTES,
    PATCHES_PER_TOKEN,
    Arithmetic,
    Load,
    Shape,
)

Settings = Mapping[str, Any]

ALL_DEVICES = ("auto", -1)


@dataclass(frozen=True)
class Estimate:
    """What a run needs: `usual` with the longest videos, `longest` where short ones leave room for long completions.

    `host`: what each process takes of the memory of a GPU's host.
    """

    name: str
    counted: Counted
    world_size: int
    load: Load
    usual: Plan
    longest_tokens: int
    longest: Plan
    host: HostBytes


def memory_text(settings: Settings) -> str:
    """All that `dry_run=memory` says."""
    found, trainer = estimate(settings), settings["trainer"]
    load, counted = found.load, found.counted
    lines = [
        f"{found.name}: {counted.all:,} parameters, {counted.trained:,} of them trained",
        f"{found.world_size} process{'es' * (found.world_size > 1)}, {strategy_name(trainer['strategy'])}, "
        f"{trainer['precision']}; in each {load.prompts} prompts a step, {load.micro_batch_prompts} in a backward pass",
        f"prompts of {load.prompt_tokens} tokens ({load.patches // PATCHES_PER_TOKEN} of video), {load.generations} "
        f"completions of up to {load.completion_tokens}",
        "",
        as_table(found.usual),
        "",
        *at_hand(found, settings),
    ]
    if found.longest_tokens > load.completion_tokens:
        moment, needed = peak(found.longest)
        lines.append(
            f"Short videos leave room for completions of {found.longest_tokens} tokens. If all are as long: "
            f"{size_text(needed)} during the {moment}; rollout.max_new_tokens limits them."
        )
    return "\n".join(lines)


def at_hand(found: Estimate, settings: Settings) -> list[str]:
    """Whether the machine at hand is large enough."""
    trainer = settings["trainer"]
    num_processes = ceil(found.world_size / trainer["num_nodes"])
    if not is_on_gpu(trainer):
        return [verdict(found.usual, host_room(num_processes))]
    lines = [verdict(found.usual, gpu_room()), *too_few(num_processes)]
    if trainer["devices"] in ALL_DEVICES and not torch.cuda.is_available():
        given = f"trainer.devices={trainer['devices']}"
        lines.append(f"warning: {given} is counted as 1, for want of GPUs here: give the number there will be")
    return [*lines, host_line(found.host, settings, num_processes, is_adapter=found.counted.is_adapter)]


def estimate(settings: Settings) -> Estimate:
    """Work out what each process of a run needs."""
    model, tokenizer = sized_model(settings["model"])
    shape, counted = shape_of(model, settings), counted_of(model, settings)
    world_size = world_size_of(settings["trainer"])
    holding = holding_of(settings, counted, world_size)
    load = load_of(settings, world_size, text_tokens(settings["prompt"], tokenizer))
    longest = with_short_videos(load, settings)
    samples = is_reinforced(settings)
    return Estimate(
        name=settings["model"].get("path", settings["name"]),
        counted=counted,
        world_size=world_size,
        load=load,
        usual=plan(shape, counted, holding, load, samples=samples),
        longest_tokens=longest.completion_tokens,
        longest=plan(shape, counted, holding, longest, samples=samples),
        host=host_bytes(counted, holding, settings["model"]),
    )


def sized_model(node: Settings) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase | None]:
    """The model without memory behind its weights, frozen where that is asked for; the tokenizer where it is known."""
    if "path" not in node:
        with torch.device("meta"):
            policy = build(node)
        return policy.model, policy.tokenizer
    model = meta_model(node["path"])
    freeze(model, node["frozen"])
    return model, None


def counted_of(model: Qwen2_5_VLForConditionalGeneration, settings: Settings) -> Counted:
    """Numbers of the model; those of an adapter, and of heads beside the model, come on top."""
    numbers = sum(weight.numel() for weight in model.parameters())
    layers = model.model.language_model.layers
    in_layers = sum(weight.numel() for part in (layers, model.model.visual.blocks) for weight in part.parameters())
    learns = learning(model, settings)
    visual = sum(weight.numel() for weight in model.model.visual.parameters())
    return Counted(
        numbers - learns.own,
        learns.all,
        outside=numbers - in_layers,
        largest=sum(weight.numel() for weight in layers[0].parameters()),
        frozen_tower=0 if any(name.startswith("model.visual.") for name in learns.names) else visual,
        is_adapter=bool(settings["model"]["lora"]["rank"]),
    )


def shape_of(model: Qwen2_5_VLForConditionalGeneration, settings: Settings) -> Shape:
    """Sizes of the model and how it computes."""
    node, config = settings["model"], model.config
    of_tower = [name for name in learning(model, settings).names if name.startswith("model.visual.")]
    return Shape(
        DecoderSizes.of(config.text_config),
        TowerSizes.of(config.vision_config),
        arithmetic_of(settings),
        checkpointing=node.get("gradient_checkpointing", False),
        trains_tower=any(not name.startswith("model.visual.merger.") for name in of_tower),
        trains_merger=any(name.startswith("model.visual.merger.") for name in of_tower),
        is_on_gpu=is_on_gpu(settings["trainer"]),
    )


def arithmetic_of(settings: Settings) -> Arithmetic:
    """Bytes of numbers in a forward pass: autocast only rounds what enters products, sharding strategies everything."""
    trainer = settings["trainer"]
    if not trainer["precision"].startswith("bf16"):
        return FLOAT32
    is_sharded = isinstance(trainer["strategy"], Mapping)
    is_stored_low = settings["model"].get("dtype") == "bfloat16" or trainer["precision"] == "bf16-true"
    return BFLOAT16 if is_sharded or is_stored_low else AUTOCAST


def holding_of(settings: Settings, counted: Counted, world_size: int) -> Holding:
    """How the trainer spreads the model over processes."""
    trainer, arithmetic = settings["trainer"], arithmetic_of(settings)
    strategy, target = trainer["strategy"], strategy_name(trainer["strategy"])
    weight_bytes = WEIGHT_BYTES[settings["model"].get("dtype", "float32")]
    if "DeepSpeed" in target:
        holding = by_deepspeed(
            strategy["stage"],
            world_size,
            arithmetic.product,
            bucket_numbers=2 * strategy["reduce_bucket_size"] + strategy["allgather_bucket_size"],
            is_on_host=strategy["offload_optimizer"] and is_on_gpu(trainer),  # a processor has no other memory
        )
    elif "ModelParallel" in target:
        holding = by_fsdp(world_size, weight_bytes, arithmetic.product, counted)
    else:
        holding = whole(
            weight_bytes,
            optimizer_bytes=MOMENTS_BYTES[settings["optimizer"]["kind"]],
            is_cast=arithmetic.is_cast,
            is_exchanged=world_size > 1,
            is_on_gpu=is_on_gpu(trainer),
        )
    if not (is_reinforced(settings) and settings["objective"]["beta"]):
        return replace(holding, reference=0)
    return replace(holding, reference=FLOAT32_BYTES) if counted.is_adapter else holding


def strategy_name(strategy: str | Settings) -> str:
    """The strategy as Lightning calls it, with its stage where it has one."""
    if not isinstance(strategy, Mapping):
        return {"auto": "whole weights"}.get(strategy, strategy)
    name = strategy[TARGET].rpartition(".")[2].removesuffix("Strategy")
    return f"{name} ZeRO-{strategy['stage']}" if "stage" in strategy else name


def is_on_gpu(trainer: Settings) -> bool:
    """Whether the trainer takes a GPU."""
    return trainer["accelerator"] == "gpu" or (trainer["accelerator"] == "auto" and torch.cuda.is_available())


def world_size_of(trainer: Settings) -> int:
    """Processes of the run; `auto` is what this machine has."""
    devices = trainer["devices"]
    if devices in ALL_DEVICES:
        devices = torch.cuda.device_count() if is_on_gpu(trainer) else 1
    return max(devices, 1) * trainer["num_nodes"]
