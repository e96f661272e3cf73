"""From a validated configuration (plain containers) to the values a training run is made of."""

import inspect
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from museg.config.completion_timelines import draw_completions
from museg.config.rules import computes_in_half
from museg.config.sharding_rules import shards_weights
from museg.data.dataset import GroundingData
from museg.dialogue.prompts import PromptWording
from museg.phases.schedule import build_schedule
from museg.policy.loading import Policy, chosen_attention
from museg.policy.rollout import RolloutSettings
from museg.targets import TARGET, build, locate
from museg.training import job as settings
from museg.training.mirrors import Dashboard, ScalarDashboard
from museg.training.progress import ProgressLine
from museg.training.wandb_dashboard import WandbDashboard
from museg.video.budget import FrameBudget


def build_job(config: Mapping[str, Any]) -> settings.TrainingJob:
    """Everything `museg.training.run` needs; model, data and dashboards are made later, when the run asks for them."""
    prompt, video, trainer = config["prompt"], config["video"], config["trainer"]
    return settings.TrainingJob(
        name=config["name"],
        seed=config["seed"],
        prompts_per_step=config["prompts_per_step"],
        module_class=locate(config["method"][TARGET]),
        module_options={key: value for key, value in config["method"].items() if key != TARGET},
        make_policy=partial(_build_policy, config["model"], trainer),
        make_data=partial(_build_data, config["dataset"]),
        make_dashboards=partial(_build_dashboards, config),
        keeps_best_model=any(node.get("best_model", False) for node in config["logger"].values()),
        reward=build(config["reward"]),
        schedule=build_schedule(**config["phase"]),
        wordings={name: PromptWording(**wording) for name, wording in prompt["wordings"].items()},
        evaluation_wording=prompt["evaluation"],
        rollout=_rollout(config),
        objective=_pick(settings.ObjectiveSettings, config["objective"]),
        optimizer=_pick(
            settings.OptimizerSettings, config["optimizer"] | {"betas": tuple(config["optimizer"]["betas"])}
        ),
        trainer=_pick(settings.TrainerSettings, trainer | {"strategy": _strategy(trainer["strategy"])}),
        checkpoint=_pick(settings.CheckpointSettings, config["checkpoint"]),
        validation=_pick(settings.ValidationSettings, config["validation"]),
        vision_features=_pick(settings.VisionFeatureSettings, config["vision_features"]),
        cold_start=_pick(settings.ColdStartSettings, config["cold_start"]),
        budget=FrameBudget(**video["budget"]),
        decoding=_pick(settings.DecodingSettings, video),
        profile=config["profile"],
        config=config,
    )


def _pick(kind: type, node: Mapping[str, Any]) -> Any:
    """Construct a settings class from the entries of a group that carry its field names."""
    return kind(**{field.name: node[field.name] for field in fields(kind) if field.name in node})


def _rollout(config: Mapping[str, Any]) -> RolloutSettings:
    """Without recordings where weights are sharded: gathered ones lie elsewhere in every step."""
    is_fixed = not shards_weights(config["trainer"]["strategy"])
    return _pick(RolloutSettings, config["rollout"] | {"cuda_graphs": config["rollout"]["cuda_graphs"] and is_fixed})


def _strategy(strategy: Any) -> Any:
    return build(strategy) if isinstance(strategy, Mapping) else strategy


def _build_policy(node: Mapping[str, Any], trainer: Mapping[str, Any]) -> Policy:
    """Build the policy; which kernel suits it hangs on how the trainer computes."""
    if "attention" in node:
        node = {**node, "attention": chosen_attention(node["attention"], in_half=computes_in_half(trainer))}
    return build(node)


def _build_data(node: Mapping[str, Any]) -> GroundingData:
    """Build the data; where they are made and not only read, show how far that is."""
    if "progress" not in inspect.signature(locate(node[TARGET])).parameters:
        return build(node)
    line: ProgressLine | None = None

    def show(num_done: int, num_all: int) -> None:
        nonlocal line
        line = line or ProgressLine("making clips", num_all)
        line.show(num_done, "", now=num_done in (0, num_all))

    try:
        return build(node, progress=show)
    finally:
        if line is not None:
            line.close()


def _build_dashboards(config: Mapping[str, Any], run_dir: Path) -> list[Dashboard]:
    """The dashboards of a run, told its settings."""
    told = {key: value for key, value in config.items() if key != "logger"}
    return [_build_dashboard(node, told, run_dir) for node in config["logger"].values()]


def _build_dashboard(node: Mapping[str, Any], told: Mapping[str, Any], run_dir: Path) -> Dashboard:
    if locate(node[TARGET]) is WandbDashboard:
        return build(node, save_dir=str(run_dir), config=told, draw=draw_completions)
    logger = build(node, save_dir=str(run_dir))
    logger.log_hyperparams(told)
    return ScalarDashboard(logger)
