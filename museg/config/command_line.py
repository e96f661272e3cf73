"""From command line to Hydra: every job is composed and checked before the first one starts.

Hydra creates a run's folder before it hands over the configuration. Checking here, first, leaves no folder behind for a
misspelt option, and a sweep fails before its first run rather than at its fourth.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from museg.config import registry  # noqa: F401  (importing it makes the schemas known)
from museg.config.overview import EVALUATE_INTRODUCTION, TRAIN_INTRODUCTION, help_text
from museg.config.suggestions import explain
from museg.config.sweep_outcome import is_submitit
from museg.config.sweep_plan import sweep_members
from museg.config.validation import checked_evaluation, checked_settings

MAX_CHECKED_JOBS = 64
"""A sweep's further members are checked when they start."""


OPEN_MAPPING = re.compile(r"(reward\.weights|phase\.phases\.[\w-]+\.rewards)\.[\w-]+=")
"""Overrides of mappings that say something about terms of the reward, where a term that is absent has a default."""


@dataclass(frozen=True)
class Program:
    """What the command lines of train.py and evaluate.py differ in.

    `config` names the file of conf/ to compose, `check` raises ValueError for a composed configuration that cannot
    work and returns its settings, and `run_folder` gives the override of Hydra's folder that the program's own
    overrides stand for, of one run or (True) of a sweep. `instead` does what settings ask for in place of a run, if
    they do, and returns whether they did.
    """

    config: str
    introduction: str
    check: Callable[[DictConfig], Mapping[str, Any]]
    run_folder: Callable[[Sequence[str], bool], list[str]]
    instead: Callable[[Mapping[str, Any]], bool]


def checked_arguments(arguments: Sequence[str], conf: Path, program: Program) -> list[str]:
    """Return the arguments for Hydra; prints and exits when they ask for help or for no run, or cannot work.

    `resume=FOLDER` also becomes `hydra.run.dir=FOLDER`: a resumed run is that folder, and no second one appears. So
    does `output=FOLDER`.
    """
    arguments = [opened(argument) for argument in arguments]
    parsed = get_args_parser().parse_args(arguments)
    if parsed.help:
        print(help_text(conf, program.config, program.introduction))
        sys.exit(0)
    try:
        extra = [*program.run_folder(parsed.overrides, parsed.multirun), *named_by_what_is_swept(parsed.overrides)]
        if parsed.multirun and parsed.cfg:
            raise ValueError("--cfg shows one configuration: leave -m out and give one value of each key")
        if not (parsed.hydra_help or parsed.info or parsed.experimental_rerun):
            how = {"is_multirun": parsed.multirun, "is_shown": bool(parsed.cfg)}
            with closing(composed_jobs([*parsed.overrides, *extra], conf, program.config, **how)) as jobs:
                settings = [program.check(job) for job in jobs if not parsed.cfg]
            if any([program.instead(of_job) for of_job in settings]):
                sys.exit(0)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        print(explain(error), file=sys.stderr)
        sys.exit(1)
    # Hydra's parser wants all overrides in one place, so ours go behind the last one.
    end = len(arguments) - arguments[::-1].index(parsed.overrides[-1]) if extra else 0
    return [*arguments[:end], *extra, *arguments[end:]]


def opened(argument: str) -> str:
    """Let an entry be added to an open mapping as if it were there (Hydra wants `++`); rules check its name later."""
    return f"++{argument}" if OPEN_MAPPING.match(argument) else argument


def resumed_folder(overrides: Sequence[str], _is_multirun: bool = False) -> list[str]:
    """The override of `hydra.run.dir` that `resume=FOLDER` stands for, or nothing.

    Raises ValueError when the folder holds no run, or when another folder is asked for at the same time.
    """
    values = [text.partition("=")[2].strip("'\"") for text in overrides if text.lstrip("+").startswith("resume=")]
    if not values or values[-1] in ("auto", "null", ""):
        return []
    folder = values[-1]
    if not (Path(folder) / "config.yaml").is_file():
        raise ValueError(
            f"resume={folder}: there is no run in this folder (no config.yaml). Give a folder below outputs/, or "
            "resume=auto with hydra.run.dir=FOLDER to continue a run there or start one."
        )
    given = {text.partition("=")[2].strip("'\"") for text in overrides if text.startswith("hydra.run.dir=")}
    if given - {folder}:
        raise ValueError(f"resume={folder} already says where the run is: leave hydra.run.dir out")
    return [f"hydra.run.dir='{folder}'"]


def output_folder(overrides: Sequence[str], is_multirun: bool = False) -> list[str]:
    """The override of Hydra's folder for an evaluation: that of `output=FOLDER`, else one named by what it does.

    A sweep's members get folders of their own in it. Raises ValueError when Hydra's folder is given as well.
    """
    place = "hydra.sweep.dir" if is_multirun else "hydra.run.dir"
    given = dict(text.lstrip("+").partition("=")[::2] for text in overrides)
    folder = given.get("output", "null").strip("'\"")
    if folder in ("null", ""):
        kind = next((key for key in ("completions", "compare") if given.get(key, "null") != "null"), None)
        is_named = kind and not is_multirun
        return [f"hydra.run.dir='outputs/evaluation/{kind}/${{now:%Y-%m-%d_%H-%M-%S}}'"] if is_named else []
    if place in given:
        raise ValueError(f"output={folder} already says where the results go: leave {place} out")
    return [f"{place}='{folder}'"]


def dry_run(settings: Mapping[str, Any]) -> bool:
    """Print what a run would need, if only that is asked for."""
    if settings["dry_run"] is None:
        return False
    from museg.config.memory import memory_text  # loads torch and transformers

    print(memory_text(settings))
    return True


TRAIN = Program("train", TRAIN_INTRODUCTION, checked_settings, resumed_folder, dry_run)
EVALUATE = Program("evaluate", EVALUATE_INTRODUCTION, checked_evaluation, output_folder, lambda _: False)


def named_by_what_is_swept(overrides: Sequence[str]) -> list[str]:
    """The override that keeps what all members of a sweep share out of their folder names."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    shared = [item.key_or_group for item in parsed if not item.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(shared)}]"] if shared else []


def composed_jobs(
    overrides: Sequence[str], conf: Path, config: str = "train", *, is_multirun: bool, is_shown: bool = False
) -> Iterator[DictConfig]:
    """Compose what one call runs: a single configuration, or that of every member of a sweep.

    `is_shown`: it is only to be looked at, so its launcher need not work here.
    """
    with initialize_config_dir(config_dir=str(conf.resolve()), version_base="1.3"):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        parsed = parser.parse_overrides(list(overrides))
        single = [item.input_line for item in parsed if not item.is_sweep_override()]
        first = compose(config, overrides=single, return_hydra_config=True)
        launcher, is_sweep = first.hydra.launcher, is_multirun or first.hydra.mode == RunMode.MULTIRUN
        if not is_shown:
            check_launcher(launcher, is_sweep=is_sweep)
        if not is_sweep:
            if len(single) < len(parsed):  # several values without --multirun: Hydra says what to do
                compose(config, overrides=list(overrides))
            with open_dict(first):
                del first["hydra"]
            yield first
            return
        members = sweep_members(first.hydra.sweeper.get("params") or {}, overrides, parser)
        for job in itertools.islice(members, MAX_CHECKED_JOBS):
            member = compose(config, overrides=list(job))
            check_processes(member, launcher)
            yield member


def check_launcher(launcher: DictConfig, *, is_sweep: bool) -> None:
    """Raise ValueError when the launcher would not be asked, is not installed, or finds no SLURM on this machine."""
    if is_submitit(launcher) and not is_sweep:
        raise ValueError(
            "hydra/launcher is for sweeps, and this would run here: add -m (one member is a sweep as well)"
        )
    parts = launcher.get("_target_", "").split(".")
    if is_sweep and parts[0] == "hydra_plugins" and not (find_spec(parts[0]) and find_spec(".".join(parts[:2]))):
        raise ValueError(f"hydra/launcher needs {parts[1]}, which is not installed: pip install -e '.[slurm]'")
    if parts[-1] == "SlurmLauncher" and not (which("sbatch") and which("srun")):
        raise ValueError(
            "hydra/launcher=slurm needs the commands sbatch and srun, which are not on PATH: start the sweep on a "
            "login node of the cluster (some want `module load slurm` first), or see launchers/local_slurm.sh"
        )


def check_processes(member: DictConfig, launcher: DictConfig) -> None:
    """Raise ValueError when a member of a sweep needs other processes than its launcher starts.

    Those that it would start itself would each repeat the whole sweep.
    """
    is_started = "WORLD_SIZE" in os.environ or "SLURM_STEP_NUM_TASKS" in os.environ
    devices = OmegaConf.select(member, "trainer.devices", throw_on_missing=False)
    if launcher.get("_target_", "").endswith("BasicLauncher") and not is_started and devices not in (1, None):
        raise ValueError(
            f"trainer.devices={devices} in a sweep: its members run in this process and cannot start others. Start the "
            "processes around it (torchrun --nproc-per-node=2 train.py -m ...), or use hydra/launcher=slurm"
        )
    if is_submitit(launcher) and devices is not None:
        if not isinstance(devices, int) or devices < 1:
            raise ValueError(f"trainer.devices={devices}: SLURM must be asked for a number, such as trainer.devices=8")
        asked, needed = (launcher.nodes, launcher.tasks_per_node), (member.trainer.num_nodes, devices)
        if asked != needed:
            raise ValueError(
                f"a member of the sweep trains with {needed[1]} processes on {needed[0]} nodes, its job would have "
                f"{asked[1]} on {asked[0]}: leave hydra.launcher.nodes and .tasks_per_node alone, and do not sweep "
                "over trainer.devices, trainer.num_nodes or trainer"
            )
