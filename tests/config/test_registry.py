import json
import re

import pytest
from hydra.types import RunMode
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from museg.config import registry
from museg.config.registry import (
    MAX_FOLDER_NAME,
    folder_name,
    fractions_of,
    member_folder,
    other_member,
    sweep_name,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("reward=maximum,phase.steps=20", "reward-maximum_phase.steps-20"),
        ("my run", "my_run"),
        ("../../etc", "etc"),
        ("", "unnamed"),
        ("[a,'b c']", "a_b_c"),
    ],
)
def test_by_hand(text, name):
    assert folder_name(text) == name


@given(st.text())
def test_can_be_given_back_on_a_command_line(text):
    name = folder_name(text)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) and len(name) <= MAX_FOLDER_NAME


def test_fractions_of_a_length():
    assert fractions_of(900, "4/9") == 400
    assert fractions_of(180, 0, "2/9", "4/9", "2/3", 1) == "0,40,80,120,180"
    assert fractions_of(150, "4/9") == 67  # 66.67
    assert fractions_of(10, 0.3) == 3


@given(st.integers(1, 10_000), st.lists(st.fractions(0, 1), min_size=2))
def test_fractions_stay_in_order_and_within_the_whole(total, fractions):
    parts = list(map(int, fractions_of(total, *sorted(fractions)).split(",")))
    assert parts == sorted(parts) and parts[0] >= 0 and parts[-1] <= total


@pytest.mark.parametrize("fractions", [(), ("half",), ("1/0",), (-1,), ("3/2",)])
def test_what_is_no_fraction_is_refused(fractions):
    with pytest.raises(ValueError, match="fractions from 0 to 1"):
        fractions_of(900, *fractions)


def test_a_run_on_its_own_is_in_no_sweep():
    assert sweep_name("tiny") is None and member_folder("tiny") == "tiny"


def test_two_sweeps_of_one_second_have_two_names(monkeypatch):
    """A sweep's folder is by default named by its date alone."""
    sweep = {"sweep": {"dir": "outputs/sweeps/any/2026-01-31_12-00-00"}, "mode": RunMode.MULTIRUN}
    monkeypatch.setattr(registry.HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(registry.HydraConfig, "get", lambda: OmegaConf.create(sweep))
    assert sweep_name("ablate_matching") == "ablate_matching_2026-01-31_12-00-00"
    assert sweep_name("my sweep") == "my_sweep_2026-01-31_12-00-00"


def test_another_member_is_found_by_what_it_differs_in(monkeypatch, tmp_path):
    members = [{"experiment/way": way, "seed": seed} for way in ("first", "then") for seed in ("0", "1")]
    (tmp_path / "sweep.json").write_text(json.dumps({"members": members}))
    run = {
        "sweep": {"dir": str(tmp_path)},
        "mode": RunMode.MULTIRUN,
        "launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
        "job": {"num": 3},
        "runtime": {"output_dir": str(tmp_path / f"3_{folder_name('experiment/way=then,seed=1')}")},
    }
    assert other_member("experiment/way", "first") == "(the member of a sweep with experiment/way=first)"
    monkeypatch.setattr(registry.HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(registry.HydraConfig, "get", lambda: OmegaConf.create(run))
    assert other_member("experiment/way", "first") == str(tmp_path / "1_experiment_way-first_seed-1")
    assert other_member("seed", "0") == str(tmp_path / "2_experiment_way-then_seed-0")
    with pytest.raises(ValueError, match="no member with seed=2 beside 3_experiment_way-then_seed-1"):
        other_member("seed", "2")
    # here one runs after another, and the first would wait for the third
    run |= {"job": {"num": 0}, "runtime": {"output_dir": str(tmp_path / "0_experiment_way-first_seed-0")}}
    with pytest.raises(ValueError, match="comes after it: name experiment/way=then before first"):
        other_member("experiment/way", "then")
    run["launcher"] = {"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}
    assert other_member("experiment/way", "then") == str(tmp_path / "2_experiment_way-then_seed-0")
