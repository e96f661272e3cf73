"""Importing this module makes the schemas and our resolvers known to Hydra.

A schema lives in the group `schema/<group>` and is pulled in by the first lines of an option file
(`defaults: [/schema/<group>@_here_: <name>, _self_]`), so it is not offered among the options of its group.
"""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from museg.config import evaluation_schema, instruction_schema, launcher_schema, task_schema, training_schema
from museg.config.derived_schema import TargetConfig
from museg.config.sweep_plan import PLAN_FILE

SCHEMAS: dict[str, dict[str, type]] = {
    "schema": {"train": training_schema.TrainConfig, "evaluate": evaluation_schema.EvaluateConfig},
    "schema/method": {
        "lightning": TargetConfig,
        "supervised": training_schema.SupervisedMethodConfig,
        "meco": training_schema.MecoMethodConfig,
    },
    "schema/optimizer": {"adamw": training_schema.OptimizerConfig},
    "schema/trainer": {"lightning": training_schema.TrainerConfig},
    "schema/strategy": {
        "deepspeed": training_schema.DeepSpeedConfig,
        "model_parallel": training_schema.ModelParallelConfig,
    },
    "schema/logger": {"wandb": training_schema.WandbConfig, "tensorboard": training_schema.TensorBoardConfig},
    "schema/cold_start": {"supervised": training_schema.ColdStartConfig},
    "schema/reward": {"mix": task_schema.RewardMixConfig},
    "schema/phase": {"schedule": task_schema.PhaseScheduleConfig},
    "schema/prompt": {"wordings": task_schema.PromptConfig},
    "schema/dataset": {
        "synthetic": task_schema.SyntheticDataConfig,
        "museg": task_schema.MusegDataConfig,
        "jsonl": task_schema.JsonlDataConfig,
        "et_instruct": instruction_schema.EtInstructDataConfig,
        "meco": instruction_schema.MecoDataConfig,
    },
    "schema/video": {"decoding": task_schema.VideoConfig},
    "schema/model": {"tiny": task_schema.TinyModelConfig, "pretrained": task_schema.PretrainedModelConfig},
    "schema/rollout": {"settings": task_schema.RolloutConfig},
    "schema/benchmark": {"description": evaluation_schema.BenchmarkConfig},
    "schema/objective": {"grpo": task_schema.GrpoConfig},
    "schema/launcher": {"slurm": launcher_schema.SlurmLauncherConfig},
}

MAX_FOLDER_NAME = 100


def folder_name(text: object) -> str:
    """Turn any text into a folder name that needs no quoting on a command line: no `=`, `,`, blank or path separator.

    `reward=maximum,phase.steps=20` becomes `reward-maximum_phase.steps-20`; longer names are cut at 100 characters.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", str(text).replace("=", "-"))
    return name[:MAX_FOLDER_NAME].strip("._-") or "unnamed"


def fractions_of(total: int, *fractions: object) -> int | str:
    """Shares of a number, each rounded to a whole one: `${fractions_of:${phase.total_steps},4/9}` is 400 of 900.

    Several of them give the text that a sweep takes: `${fractions_of:180,0,4/9,1}` is "0,80,180".

    Raises:
        ValueError: there is none, or one is no fraction from 0 to 1.
    """
    try:
        parts = [Fraction(str(fraction)) for fraction in fractions]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not parts or not all(0 <= part <= 1 for part in parts):
        raise ValueError(f"fractions_of takes a number and fractions from 0 to 1, such as 4/9; given {fractions}")
    whole = [round(int(total) * part) for part in parts]
    return whole[0] if len(whole) == 1 else ",".join(map(str, whole))


def sweep_name(name: str) -> str | None:
    """What the members of the running sweep share, `name` and the name of its folder, which by default is a date only:
    `${sweep_name:${name}}`; None outside a sweep.
    """
    return folder_name(f"{name}_{Path(HydraConfig.get().sweep.dir).name}") if _is_in_sweep() else None


def member_folder(otherwise: str) -> str:
    """Name of the running sweep member's own folder; outside a sweep what is given: `${member_folder:${name}}`."""
    return Path(HydraConfig.get().runtime.output_dir).name if _is_in_sweep() else otherwise


def other_member(key: str, value: str) -> str:
    """The folder of the member of the running sweep that differs from the running one by `key=value` alone:
    `${other_member:seed,0}`. Outside a sweep only words that say so.

    Raises:
        ValueError: the sweep has no such member, or has it later where members run one after another.
    """
    if not _is_in_sweep():
        return f"(the member of a sweep with {key}={value})"
    hydra = HydraConfig.get()
    number, own_name = int(hydra.job.num), Path(hydra.runtime.output_dir).name
    members = json.loads(Path(hydra.sweep.dir, PLAN_FILE).read_text(encoding="utf-8"))["members"]
    other = members[number] | {key: value}
    own_text, other_text = (folder_name(f"{key}={member[key]}") for member in (members[number], other))
    if other not in members or own_text not in own_name:
        raise ValueError(f"this sweep has no member with {key}={value} beside {own_name}: add it")
    if members.index(other) > number and hydra.launcher._target_.endswith("BasicLauncher"):
        raise ValueError(
            f"{own_name} would wait for a member that comes after it: name {key}={value} before {members[number][key]}"
        )
    name = own_name.partition("_")[2].replace(own_text, other_text)
    return str(Path(hydra.sweep.dir, f"{members.index(other)}_{name}"))


def _is_in_sweep() -> bool:
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def if_several(strategy: object, devices: int) -> int:
    """How many devices a recipe means by `${if_several:${trainer.strategy},7}`: one where its trainer is for one."""
    return 1 if strategy == "auto" else devices


def register() -> None:
    """Store every schema and make the resolvers above known; doing it again changes nothing."""
    store = ConfigStore.instance()
    for group, schemas in SCHEMAS.items():
        for name, schema in schemas.items():
            store.store(group=group, name=name, node=schema, provider="museg")
    OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
    OmegaConf.register_new_resolver("sweep_name", sweep_name, replace=True)
    OmegaConf.register_new_resolver("member_folder", member_folder, replace=True)
    OmegaConf.register_new_resolver("other_member", other_member, replace=True)
    OmegaConf.register_new_resolver("fractions_of", fractions_of, replace=True)
    OmegaConf.register_new_resolver("if_several", if_several, replace=True)
    OmegaConf.register_new_resolver("gpus_per_node", launcher_schema.gpus_per_node, replace=True)


register()
