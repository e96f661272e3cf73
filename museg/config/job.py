"""From a validated configuration (plain containers) to the values a training run is made of."""

import inspect
import uuid
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from museg.data.dataset import GroundingData
from museg.dialogue.prompts import PromptWording
from museg.phases.schedule import build_schedule
from museg.policy.loading import Policy, chosen_attention
from museg.policy.rollout import RolloutSettings
from museg.targets import TARGET, build, locate
from museg.training import job as settings
from museg.training.progress import ProgressLine
from museg.video.budget import FrameBudget


def build_job(config: Mapping[str, Any]) -> settings.TrainingJob:
    """Everything `museg.training.run` needs; model, data and loggers are made later, when the run asks for them."""
    prompt, video, trainer = config["prompt"], config["video"], config["trainer"]
    return settings.TrainingJob(
        name=config["name"],
        seed=config["seed"],
        prompts_per_step=config["prompts_per_step"],
        module_class=locate(config["method"][TARGET]),
        module_options={key: value for key, value in config["method"].items() if key != TARGET},
        make_policy=partial(_build_policy, config["model"], trainer),
        make_data=partial(_build_data, config["dataset"]),
        make_loggers=partial(_build_loggers, config),
        reward=build(config["reward"]),
        schedule=build_schedule(**config["phase"]),
        wordings={name: PromptWording(**wording) for name, wording in prompt["wordings"].items()},
        evaluation_wording=prompt["evaluation"],
        rollout=_pick(RolloutSettings, config["rollout"]),
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


def _strategy(strategy: Any) -> Any:
    return build(strategy) if isinstance(strategy, Mapping) else strategy


def _build_policy(node: Mapping[str, Any], trainer: Mapping[str, Any]) -> Policy:
    """Build the policy; which kernel suits it hangs on how the trainer computes."""
    if "attention" in node:
        in_half = trainer["accelerator"] != "cpu" and trainer["precision"] != "32-true"
        node = {**node, "attention": chosen_attention(node["attention"], in_half=in_half)}
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


def _build_loggers(config: Mapping[str, Any], run_dir: Path) -> list[Logger]:
    """The loggers of a run, told its settings; a resumed run goes on in the W&B run that it began."""
    loggers = []
    for node in config["logger"].values():
        is_wandb = locate(node[TARGET]).__name__ == "WandbLogger"
        extra = {"id": _wandb_id(run_dir), "resume": "allow"} if is_wandb else {}
        loggers.append(build(node, save_dir=str(run_dir), **extra))
        loggers[-1].log_hyperparams({key: value for key, value in config.items() if key != "logger"})
    return loggers


def _wandb_id(run_dir: Path) -> str:
    """The name under which W&B knows this run folder, made up at its first use."""
    file = run_dir / "wandb_id.txt"
    if not file.exists():
        file.write_text(uuid.uuid4().hex[:12], encoding="utf-8")
    return file.read_text(encoding="utf-8")
