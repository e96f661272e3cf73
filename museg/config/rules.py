"""Rules that tie settings of several groups together; each yields every violation it finds.

Settings arrive as plain, typed containers. A rule reads values only: nothing slow is imported, nothing
is loaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from museg.config.method_rules import (
    alignment,
    answers_in_words,
    low_masters,
    optimizer_kind,
    prompts_of_phases,
    trained_heads,
    trained_parts,
)
from museg.config.methods import is_reinforced
from museg.config.sharding_rules import sharded_weights, strategy
from museg.config.violation import Violation
from museg.config.weight_rules import adapter, moments
from museg.phases.schedule import build_schedule
from museg.targets import TARGET
from museg.video.budget import FrameBudget
from museg.video.synthetic_layout import SyntheticSettings

Settings = Mapping[str, Any]
Rules = Mapping[Callable[[Settings], Iterator[Violation]], tuple[str, ...]]
"""Rule -> the groups it reads."""

TEXT_TOKENS = 256
"""What the text of a prompt (estimated: 150 tokens) and a short answer take beside the video."""

REQUIRED_PACKAGES = {
    "WandbDashboard": ("wandb", "pip install wandb, or leave logger=wandb out: metrics.csv is always written"),
    "TensorBoardLogger": ("tensorboard", "pip install tensorboard"),
    "DeepSpeedStrategy": ("deepspeed", "pip install -e '.[gpu]', or choose trainer=single_gpu or trainer=ddp"),
}
"""Class at the end of a target -> the package it needs, and how to get it or do without."""


def schedule(settings: Settings) -> Iterator[Violation]:
    """The lengths of the phases add up."""
    yield from _attempt("phase", lambda: build_schedule(**settings["phase"]))


def frame_budget(settings: Settings) -> Iterator[Violation]:
    """The limits of frames and pixels agree with each other."""
    yield from frame_budget_of(settings["video"], "video.budget")


def frame_budget_of(video: Settings, place: str) -> Iterator[Violation]:
    """The limits of one video group agree with each other."""
    yield from _attempt(place, lambda: FrameBudget(**video["budget"]))


def synthetic_clips(settings: Settings) -> Iterator[Violation]:
    """Clips of the asked look can be drawn."""
    dataset = settings["dataset"]
    look = {item.name: dataset[item.name] for item in fields(SyntheticSettings) if item.name in dataset}
    if "num_train_clips" in look:
        yield from _attempt("dataset", lambda: SyntheticSettings(**look))


def _attempt(place: str, construct: Callable[[], object]) -> Iterator[Violation]:
    """What is cheap to construct is constructed, and its complaint becomes a violation."""
    try:
        construct()
    except ValueError as error:
        yield Violation(place, str(error))


def prompts(settings: Settings) -> Iterator[Violation]:
    """Every wording that a phase, the evaluation or a cold start names exists."""
    wordings = sorted(settings["prompt"]["wordings"])
    named = {f"phase.phases.{name}.prompt": phase["prompt"] for name, phase in settings["phase"]["phases"].items()}
    named["prompt.evaluation"] = settings["prompt"]["evaluation"]
    if (start := settings["cold_start"])["enabled"]:
        named |= {f"cold_start.wordings.{place}": name for place, name in enumerate(start["wordings"])}
        named["cold_start.evaluation"] = start["evaluation"]
        if not start["wordings"]:
            yield Violation("cold_start.wordings", "must name at least one wording", [], f"choose from {wordings}")
    for place, wording in named.items():
        if wording not in wordings:
            remedy = f"choose one of {wordings}" + (", or cold_start=none" if place.startswith("cold_start") else "")
            yield Violation(place, "must name a wording of prompt.wordings", wording, remedy)


def reward_switches(settings: Settings) -> Iterator[Violation]:
    """The switches of a phase name terms of the reward, and leave one on."""
    terms = list(settings["reward"]["terms"])
    for phase_name, phase in settings["phase"]["phases"].items():
        place, switches = f"phase.phases.{phase_name}.rewards", phase["rewards"]
        for name in switches:
            if name not in terms:
                remedy = f"choose one of {terms}, or remove it with ~{place}.{name}"
                yield Violation(f"{place}.{name}", "must name a term of reward.terms", name, remedy)
        if all(switches.get(name, True) is False for name in terms):
            yield Violation(place, "must leave at least one term of the reward on", switches, f"the terms are {terms}")


def group_size(settings: Settings) -> Iterator[Violation]:
    """Advantages compare the completions of a group, so reinforcement needs two or more."""
    num_generations = settings["rollout"]["num_generations"]
    if num_generations < 2 and is_reinforced(settings):
        rule = "must be 2 or more: GRPO compares the completions of one prompt with each other"
        yield Violation("rollout.num_generations", rule, num_generations, "set it to 8, or train with method=sft")


def context(settings: Settings) -> Iterator[Violation]:
    """The longest video the budget aims at leaves room for text and answer: video tokens are never cut off."""
    rollout = settings["rollout"]
    try:
        video_tokens = FrameBudget(**settings["video"]["budget"]).most_video_tokens
    except ValueError:
        return  # told by `frame_budget`
    text_tokens = min(rollout["max_new_tokens"], TEXT_TOKENS)
    if video_tokens + text_tokens > rollout["max_context_tokens"]:
        rule = f"must hold the video tokens aimed at ({video_tokens}) and {text_tokens} tokens of question and answer"
        remedy = "raise it, or lower video.budget.total_pixels or video.budget.max_frames"
        yield Violation("rollout.max_context_tokens", rule, rollout["max_context_tokens"], remedy)


def step_share(settings: Settings) -> Iterator[Violation]:
    """Every device gets at least one prompt of a step."""
    trainer, prompts_per_step = settings["trainer"], settings["prompts_per_step"]
    devices = trainer["devices"]
    if not (devices in ("auto", -1) or (isinstance(devices, int) and devices >= 1)):
        yield Violation("trainer.devices", "must be a number of devices, or auto", devices)
    elif isinstance(devices, int) and devices * trainer["num_nodes"] > prompts_per_step:
        rule = f"must be at least trainer.devices x trainer.num_nodes ({devices * trainer['num_nodes']})"
        yield Violation("prompts_per_step", rule, prompts_per_step, "use fewer devices or more prompts")


def master_weights(settings: Settings) -> Iterator[Violation]:
    """Trained weights exist in float32 somewhere: small updates vanish in bfloat16."""
    uses_deepspeed = "DeepSpeed" in str(settings["trainer"]["strategy"])
    remedy = "use model.dtype=float32 with trainer.precision=bf16-mixed, or trainer=zero2, which keeps float32 masters"
    low = {
        # an adapter is float32, and all that trains
        "model.dtype": settings["model"].get("dtype") == "bfloat16" and not settings["model"]["lora"]["rank"],
        "trainer.precision": settings["trainer"]["precision"] == "bf16-true",
    }
    for place, is_low in low.items():
        if is_low and not uses_deepspeed:
            yield Violation(place, "needs float32 master weights, which this trainer does not keep", "bfloat16", remedy)


def installed(settings: Settings) -> Iterator[Violation]:
    """Packages that a choice needs are there."""
    chosen = {f"logger.{name}": node for name, node in settings["logger"].items()}
    chosen["trainer.strategy"] = settings["trainer"]["strategy"]
    for place, node in chosen.items():
        target = node.get(TARGET, "") if isinstance(node, Mapping) else ""
        package, remedy = REQUIRED_PACKAGES.get(target.rpartition(".")[2], (None, ""))
        if package and importlib.util.find_spec(package) is None:
            yield Violation(place, f"needs the package {package}, which is not installed", target, remedy)
    attention = settings["model"].get("attention")
    if attention == "flash_attention_2" and importlib.util.find_spec("flash_attn") is None:
        rule = "needs the package flash-attn, which is not installed"
        remedy = "pip install -e '.[flash]' --no-build-isolation, or use model.attention=auto"
        yield Violation("model.attention", rule, attention, remedy)
    elif attention == "flash_attention_2" and not computes_in_half(settings["trainer"]):
        rule = "computes in half precision on a GPU, which trainer.accelerator and trainer.precision do not"
        yield Violation("model.attention", rule, attention, "use trainer=single_gpu, or model.attention=auto")


def computes_in_half(trainer: Settings) -> bool:
    """Whether a trainer computes in half precision, and not on the processor."""
    return trainer["accelerator"] != "cpu" and trainer["precision"] != "32-true"


def held_out(settings: Settings) -> Iterator[Violation]:
    """A cold start stops by a held-out score, so it needs something held out."""
    dataset = settings["dataset"]
    if (
        settings["cold_start"]["enabled"]
        and "held_out_share" in dataset
        and not dataset["held_out_share"]
        and dataset.get("held_out_file") is None
    ):
        remedy = "set dataset.held_out_share=0.05, or dataset.held_out_file=..."
        yield Violation(
            "dataset.held_out_share", "must be above 0 when a cold start runs without a held_out_file", 0, remedy
        )


def files(settings: Settings) -> Iterator[Violation]:
    """Annotation files and video folders are where the configuration says."""
    dataset = settings["dataset"]
    for key in ("stage_1", "stage_2", "train_file", "held_out_file"):
        if dataset.get(key) is not None and not Path(dataset[key]).is_file():
            yield Violation(f"dataset.{key}", "must be an annotation file", dataset[key], "give its path")
    for stage_name, stage in dataset.get("stages", {}).items():
        for name, entry in stage["files"].items():
            place = f"dataset.stages.{stage_name}.files.{name}.file"
            if not Path(dataset["video_root"], entry["file"]).is_file():
                yield Violation(place, "must be an annotation file below dataset.video_root", entry["file"])
    if "video_root" in dataset and not Path(dataset["video_root"]).is_dir():
        remedy = "give the folder that holds the videos"
        yield Violation("dataset.video_root", "must be a folder", dataset["video_root"], remedy)


def betas(settings: Settings) -> Iterator[Violation]:
    """AdamW takes two betas."""
    given = settings["optimizer"]["betas"]
    if len(given) != 2:
        yield Violation("optimizer.betas", "must be two numbers", given, "for example [0.9,0.999]")


TRAIN_RULES: Rules = {
    schedule: ("phase",),
    prompts: ("phase", "prompt", "cold_start"),
    reward_switches: ("phase", "reward"),
    group_size: ("rollout", "method"),
    frame_budget: ("video",),
    context: ("video", "rollout"),
    step_share: ("trainer", "prompts_per_step"),
    strategy: ("trainer",),
    master_weights: ("trainer", "model"),
    sharded_weights: ("trainer", "rollout", "objective", "method", "logger"),
    installed: ("logger", "trainer", "model"),
    synthetic_clips: ("dataset",),
    held_out: ("dataset", "cold_start"),
    files: ("dataset",),
    adapter: ("model", "objective"),
    moments: ("optimizer", "trainer"),
    optimizer_kind: ("optimizer", "trainer"),
    trained_parts: ("phase", "method", "model", "objective"),
    low_masters: ("phase", "model", "trainer"),
    prompts_of_phases: ("phase", "dataset", "trainer"),
    alignment: ("method", "trainer"),
    answers_in_words: ("method", "dataset"),
    trained_heads: ("phase", "method"),
    betas: ("optimizer",),
}
"""Every rule with the groups it reads, in the order in which violations are told."""

MEMORY_RULES: Rules = {
    rule: groups for rule, groups in TRAIN_RULES.items() if rule is not installed and "dataset" not in groups
}
"""Those that hold for a look at how much memory a run needs, which takes no data and may be had on another machine."""
