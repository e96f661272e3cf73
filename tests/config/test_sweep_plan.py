"""The record of what a sweep is going to run, written by Hydra's own multirun."""

import json

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from museg.config.command_line import composed_jobs
from museg.config.sweep_plan import PLAN_FILE, PlanRecorder, sweep_members
from tests.config.options import CONF

ABLATIONS = {"ablate_matching": 4, "ablate_phase_length": 5, "ablate_reward_terms": 5}
"""Recorded sweep -> number of configurations."""


def members(params, *overrides) -> list[tuple[str, ...]]:
    return list(sweep_members(params, overrides, OverridesParser.create()))


def test_members_are_numbered_as_hydra_numbers_them():
    found = members({"seed": "0,1"}, "reward=a,b", "name=x")
    assert found == [(f"seed={seed}", f"reward={reward}", "name=x") for seed in (0, 1) for reward in "ab"]


def test_the_command_line_replaces_what_the_file_sweeps():
    assert members({"seed": "0,1", "reward": "a,b"}, "seed=7") == [("seed=7", "reward=a"), ("seed=7", "reward=b")]
    assert members({"seed": "range(3)"}, "++x=1") == [(f"seed={seed}", "++x=1") for seed in range(3)]


@pytest.mark.parametrize(("name", "num_configurations"), ABLATIONS.items())
def test_a_recorded_sweep_has_three_seeds_of_every_configuration(name, num_configurations):
    recorded = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
    params = OmegaConf.merge(recorded, {"phase": {"total_steps": 900}}).hydra.sweeper.params
    *configurations, last = members(OmegaConf.to_container(params, resolve=True))
    found = {}
    for first, seed in [*configurations, last]:
        found.setdefault(first, []).append(seed)
    assert list(found.values()) == [["seed=0", "seed=1", "seed=2"]] * num_configurations


def test_each_term_is_left_out_once():
    jobs = composed_jobs(["experiment=ablate_reward_terms", "seed=0"], CONF, is_multirun=True)
    weights = [dict(job.reward.weights) for job in jobs]
    assert weights == [{}, {"format": 0.0}, {"timestamp": 0.0}, {"coverage": 0.0}, {"local": 0.0}]


def test_hydra_writes_the_plan_before_the_first_member_starts(tmp_path):
    seen = []

    def see(config):  # the plan is there when a member runs, and says of every member what it is
        seen.append((json.loads((tmp_path / PLAN_FILE).read_text()), config.phase.steps, config.seed))

    overrides = ["experiment=ablate_phase_length", "seed=4,5", "phase.total_steps=9", "phase.steps=2,4"]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        GlobalHydra.instance().hydra.multirun(
            "train", see, [*overrides, f"hydra.sweep.dir={tmp_path}", "hydra/hydra_logging=disabled"]
        )
    same = {"experiment": "ablate_phase_length", "phase.total_steps": "9"}
    plan = [{"phase.steps": str(steps), "seed": str(seed)} | same for steps in (2, 4) for seed in (4, 5)]
    assert [found["members"] for found, _, _ in seen] == [plan] * 4
    assert all(len(found["commit"] or "") in (0, 40) and "is_dirty" in found for found, _, _ in seen)
    assert [found["baseline"] for found, _, _ in seen] == ["phase.steps=4"] * 4  # 4/9 of 9 steps, as recorded
    assert [(str(steps), str(seed)) for _, steps, seed in seen] == [(p["phase.steps"], p["seed"]) for p in plan]


def test_the_plan_of_another_sweeper_is_not_known(tmp_path):
    sweeper = {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper", "params": {"lr": "x"}}
    config = OmegaConf.create({"hydra": {"sweeper": sweeper, "sweep": {"dir": str(tmp_path)}}})
    PlanRecorder().on_multirun_start(config)
    assert list(tmp_path.iterdir()) == []
