"""Rules about what a method trains, phase by phase, and how: parts of the model, heads, optimizers of its own.

As in `museg.config.rules`, a rule reads plain settings and yields every violation it finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from museg.config.methods import has_heads, is_reinforced
from museg.config.violation import Violation
from museg.phases.schedule import Phase, build_schedule
from museg.phases.trained_parts import NEW_ROWS

Settings = Mapping[str, Any]


def phases_of(settings: Settings) -> tuple[Phase, ...]:
    """The phases that have steps; none where they make no schedule, which `museg.config.rules.schedule` tells."""
    try:
        return build_schedule(**settings["phase"]).phases
    except ValueError:
        return ()


def trained_parts(settings: Settings) -> Iterator[Violation]:
    """A phase trains what there is to train."""
    lora, is_meco = settings["model"]["lora"]["rank"], has_heads(settings)
    for phase in phases_of(settings):
        place, parts = f"phase.phases.{phase.name}.trains", phase.trains
        if parts is None:
            continue
        if not is_meco and parts.heads:
            yield Violation(f"{place}.heads", "only method=meco has heads", True, "set it to false, or method=meco")
        if not is_meco and parts.embeddings == NEW_ROWS:
            rule = "only method=meco adds tokens"
            yield Violation(f"{place}.embeddings", rule, NEW_ROWS, "set it to all or none, or method=meco")
        if lora and is_reinforced(settings) and settings["objective"]["beta"] and parts.beyond_adapter:
            rule = "the reference is the model without its adapter, so nothing beside the adapter may learn"
            yield Violation(place, rule, parts.beyond_adapter, "train language alone, or set objective.beta=0")


def low_masters(settings: Settings) -> Iterator[Violation]:
    """Weights of the model that learn beside an adapter need float32 as well."""
    node, keeps_masters = settings["model"], "DeepSpeed" in str(settings["trainer"]["strategy"])
    if node.get("dtype") != "bfloat16" or not node["lora"]["rank"] or keeps_masters:
        return
    for phase in phases_of(settings):
        if phase.trains is not None and phase.trains.beyond_adapter:
            rule = f"phase {phase.name} trains weights of the model itself, whose small steps bfloat16 would swallow"
            yield Violation("model.dtype", rule, "bfloat16", "use float32, or trainer=zero2")


def prompts_of_phases(settings: Settings) -> Iterator[Violation]:
    """A phase with its own number of prompts has its own file, and enough of them for all devices."""
    trainer = settings["trainer"]
    devices = trainer["devices"] if isinstance(trainer["devices"], int) else 1
    for phase in phases_of(settings):
        place, own = f"phase.phases.{phase.name}.prompts_per_step", phase.prompts_per_step
        if own is None:
            continue
        if settings["dataset"]["order"] != "by_phase":
            rule = "needs data that follow the phase: those that follow the step would lose count"
            yield Violation(place, rule, own, "set dataset.order=by_phase, or leave it null")
        if own < devices * trainer["num_nodes"]:
            rule = f"must be at least trainer.devices x trainer.num_nodes ({devices * trainer['num_nodes']})"
            yield Violation(place, rule, own, "use fewer devices or more prompts")


def alignment(settings: Settings) -> Iterator[Violation]:
    """Heads lie whole in every process, and their targets go with how rows are read."""
    if not has_heads(settings):
        return
    method, strategy = settings["method"], settings["trainer"]["strategy"]
    if "ModelParallel" in str(strategy):
        rule = "shards neither the heads nor the gradients of single rows"
        yield Violation("trainer.strategy", rule, "FSDP", "use trainer=zero2, zero3 or ddp with method=meco")
    if method["inclusive_end"] == method["localization"]["include_last_step"]:
        rule = "must be the opposite of method.inclusive_end, or every segment ends a step off"
        value = method["localization"]["include_last_step"]
        yield Violation("method.localization.include_last_step", rule, value, f"set it to {not value}".lower())
    if method["start_heads"] is not None and not Path(method["start_heads"]).is_dir():
        remedy = "give the folder of a model that method=meco exported, or null"
        yield Violation("method.start_heads", "must be a folder", method["start_heads"], remedy)


def answers_in_words(settings: Settings) -> Iterator[Violation]:
    """Methods that learn from times are given none in conversations."""
    if has_heads(settings):
        return
    for name, stage in settings["dataset"].get("stages", {}).items():
        if any(file["format"] == "conversations" for file in stage["files"].values()):
            rule = "holds answers in words, and no times, from which only method=meco learns"
            remedy = f"use method=meco, or take the stage out with ~dataset.stages.{name}"
            yield Violation(f"dataset.stages.{name}", rule, None, remedy)


def optimizer_kind(settings: Settings) -> Iterator[Violation]:
    """Muon has its own rate and momentum, whole matrices, and no decay; others have neither."""
    optimizer, strategy = settings["optimizer"], settings["trainer"]["strategy"]
    is_muon = optimizer["kind"] == "muon"
    for key in ("matrix_lr", "momentum"):
        if is_muon and optimizer[key] is None:
            yield Violation(f"optimizer.{key}", "must be set with optimizer.kind=muon", None, "see optimizer=muon")
        if not is_muon and optimizer[key] is not None:
            remedy = "leave it null, or use optimizer.kind=muon"
            yield Violation(f"optimizer.{key}", "is read by optimizer.kind=muon alone", optimizer[key], remedy)
    if is_muon and isinstance(strategy, Mapping):
        rule = "reads whole matrices, and is two optimizers, where this strategy takes one"
        yield Violation("optimizer.kind", rule, "muon", "use trainer=cpu, single_gpu or ddp, or optimizer.kind=adamw")
    if is_muon and optimizer["weight_decay"]:
        rule = "must be 0 with optimizer.kind=muon, which decays nothing"
        yield Violation("optimizer.weight_decay", rule, optimizer["weight_decay"], "set it to 0")
    if optimizer["warmup_share"] is not None and optimizer["warmup_steps"]:
        rule = "must be 0 where optimizer.warmup_share says how long the warm-up is"
        yield Violation("optimizer.warmup_steps", rule, optimizer["warmup_steps"], "set one of the two")


def trained_heads(settings: Settings) -> Iterator[Violation]:
    """Heads that nobody trains find nothing."""
    phases = phases_of(settings)
    if not has_heads(settings) or not settings["method"]["weight"]:
        return
    if phases and not any(phase.trains is None or phase.trains.heads for phase in phases):
        rule = "no phase trains the heads, so that nothing would be found with them"
        yield Violation("phase.phases", rule, None, "set trains.heads=true in one of them")
