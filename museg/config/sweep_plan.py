"""What a sweep is about to run, member by member, and the record of it that stands in the sweep's folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from museg.config.code_state import code_state
from museg.files import write_whole

PLAN_FILE = "sweep.json"


def sweep_members(
    params: Mapping[str, str], overrides: Sequence[str], parser: OverridesParser
) -> Iterator[tuple[str, ...]]:
    """The overrides of every member, in the order in which Hydra's own sweeper numbers them.

    params: what the configuration itself sweeps (`hydra.sweeper.params`); an override of the same key takes its place.
    """
    axes: dict[str, list[str]] = {}
    for item in parser.parse_overrides([*(f"{key}={values}" for key, values in params.items()), *overrides]):
        key = item.get_key_element()
        if item.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in item.sweep_string_iterator()]
        elif not item.is_sweep_override():
            axes[key] = [item.input_line]
    return itertools.product(*axes.values())


class PlanRecorder(Callback):
    """Writes `sweep.json` when a sweep starts, so that its report can tell which members are still to come.

    baseline: the setting that the report compares the others with (`phase.steps=400`); the first where it is empty.
    """

    def __init__(self, baseline: str = "") -> None:
        self.baseline = baseline

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Record the overrides of all members; the plan of any other sweeper than Hydra's own is not known."""
        sweeper = config.hydra.sweeper
        if not sweeper.get("_target_", "").endswith(".BasicSweeper"):
            return
        params = OmegaConf.to_container(sweeper.params, resolve=True) if sweeper.params else {}
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        members = [
            dict(override.lstrip("+").partition("=")[::2] for override in member)
            for member in sweep_members(params, list(config.hydra.overrides.task), parser)
        ]
        plan = {"members": members, **code_state()} | ({"baseline": self.baseline} if self.baseline else {})
        write_whole(Path(config.hydra.sweep.dir) / PLAN_FILE, json.dumps(plan, indent=1))
