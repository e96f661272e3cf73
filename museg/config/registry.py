"""Importing this module makes the schemas and the folder-name resolver known to Hydra.

A schema lives in the group `schema/<group>` and is pulled in by the first lines of an option file
(`defaults: [/schema/<group>@_here_: <name>, _self_]`), so it is not offered among the options of its group.
"""

from __future__ import annotations

import re

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from museg.config import evaluation_schema, task_schema, training_schema
from museg.config.derived_schema import TargetConfig

SCHEMAS: dict[str, dict[str, type]] = {
    "schema": {"train": training_schema.TrainConfig, "evaluate": evaluation_schema.EvaluateConfig},
    "schema/method": {"lightning": TargetConfig, "supervised": training_schema.SupervisedMethodConfig},
    "schema/optimizer": {"adamw": training_schema.OptimizerConfig},
    "schema/trainer": {"lightning": training_schema.TrainerConfig},
    "schema/strategy": {"deepspeed": training_schema.DeepSpeedConfig},
    "schema/logger": {"wandb": training_schema.WandbConfig, "tensorboard": training_schema.TensorBoardConfig},
    "schema/cold_start": {"supervised": training_schema.ColdStartConfig},
    "schema/reward": {"mix": task_schema.RewardMixConfig},
    "schema/phase": {"schedule": task_schema.PhaseScheduleConfig},
    "schema/prompt": {"wordings": task_schema.PromptConfig},
    "schema/dataset": {
        "synthetic": task_schema.SyntheticDataConfig,
        "museg": task_schema.MusegDataConfig,
        "jsonl": task_schema.JsonlDataConfig,
    },
    "schema/video": {"decoding": task_schema.VideoConfig},
    "schema/model": {"tiny": task_schema.TinyModelConfig, "pretrained": task_schema.PretrainedModelConfig},
    "schema/rollout": {"settings": task_schema.RolloutConfig},
    "schema/benchmark": {"description": evaluation_schema.BenchmarkConfig},
    "schema/objective": {"grpo": task_schema.GrpoConfig},
}

MAX_FOLDER_NAME = 100


def folder_name(text: object) -> str:
    """Turn any text into a folder name that needs no quoting on a command line: no `=`, `,`, blank or path separator.

    `reward=maximum,phase.steps=20` becomes `reward-maximum_phase.steps-20`; longer names are cut at 100 characters.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(text).replace("=", "-"))
    return name[:MAX_FOLDER_NAME].strip("._-") or "unnamed"


def register() -> None:
    """Store every schema and the resolver `${folder_name:...}`; doing it again changes nothing."""
    store = ConfigStore.instance()
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=group, name=name, node=schema, provider="museg")
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


register()
