import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from museg.report.sweep_settings import ABSENT, MAX_NODES, flattened, varied
from tests.report.invented_sweep import REWARDS, member_config

NAMES = st.sampled_from(["lr", "depth", "steps"])
FLAT_CONFIGS = st.lists(st.dictionaries(NAMES, st.integers(0, 2), min_size=1), min_size=1, max_size=5)


def test_flattened_by_hand():
    config = {"a": {"b": [1, {"c": None}], "d": {}}, "e": True}
    assert flattened(config) == {"a.b.0": "1", "a.b.1.c": "", "e": "True"}


def test_rewards_are_told_apart_by_class_and_by_absence():
    found = varied([member_config(0, reward) for reward in REWARDS], [])
    coverage, local = "reward.terms.coverage", "reward.terms.local"
    assert found == [
        {coverage: "CoverageReward", local: "SequentialMatchingReward"},
        {coverage: "CoverageReward", local: "MaximumMatchingReward"},
        {coverage: "CoverageReward", local: ABSENT},
        {coverage: ABSENT, local: "SequentialMatchingReward"},
    ]


def test_what_refers_to_a_setting_is_not_told_twice():
    found = varied([member_config(0, steps=steps) for steps in (0, 80)], [])
    assert found == [{"phase.steps": "0"}, {"phase.steps": "80"}]  # phase.phases.timestamp.num_steps follows it


def test_two_settings_of_one_group_are_both_told():
    found = varied([{"optimizer": {"lr": lr, "eps": eps}} for lr, eps in ((1, 5), (2, 5), (1, 6))], [])
    assert found == [{"optimizer.eps": eps, "optimizer.lr": lr} for lr, eps in (("1", "5"), ("2", "5"), ("1", "6"))]


def test_seeds_names_and_loggers_make_no_configuration():
    configs = [member_config(seed) | {"name": f"run {seed}", "model": {"seed": seed}} for seed in (0, 1)]
    assert varied(configs, []) == [{}, {}]


def test_the_plan_names_what_it_explains():
    configs = [member_config(seed, reward) for reward in ("sequential", "maximum") for seed in (0, 1)]
    plans = [{"reward": reward, "seed": str(seed)} for reward in ("sequential", "maximum") for seed in (0, 1)]
    assert varied(configs, plans) == [{"reward": plan["reward"]} for plan in plans]
    # also of members that have left no configuration yet
    assert varied([*configs[:3], {}], plans)[3] == {"reward": "maximum"}
    # not where members differ in what it does not know, or where it does not know a member
    other = [*configs[:3], configs[3] | {"phase": configs[3]["phase"] | {"total_steps": 9}}]
    assert "phase.total_steps" in varied(other, plans)[0]
    assert varied([*configs[:3], {}], [*plans[:3], {}])[3] is None


def test_a_mapping_is_told_by_what_stands_in_it():
    configs = [
        {"reward": {"terms": 4, "weights": weights}} for weights in ({}, {"local": 0.0}, {"format": 0.0, "local": 2})
    ]
    assert [settings["reward.weights"] for settings in varied(configs, [])] == [
        ABSENT,
        "local=0.0",
        "format=0.0 local=2",
    ]


@given(FLAT_CONFIGS)
def test_members_get_the_same_settings_exactly_where_their_configurations_agree(configs):
    found = varied(configs, [])
    for one, settings in zip(configs, found, strict=True):
        for other, others in zip(configs, found, strict=True):
            assert (settings == others) == (one == other)


LONG = "/a/place/" + 60 * "shared/"
VALUES = st.one_of(st.sampled_from(["", "a", LONG, LONG + "a", LONG + LONG]), st.integers(0, 1))
BUILT = st.fixed_dictionaries({"_target_": st.sampled_from(["one.A", "two.A", "two.B"]), LONG: VALUES, "x": VALUES})
NESTED_CONFIGS = st.lists(st.dictionaries(NAMES, st.one_of(VALUES, BUILT)), min_size=1, max_size=4)


@given(NESTED_CONFIGS)
def test_long_values_and_what_stands_within_a_class_are_told_apart(configs):
    found = varied([config | {"seed": 0} for config in configs], [])
    for one, settings in zip(configs, found, strict=True):
        for other, others in zip(configs, found, strict=True):
            assert (settings == others) == (one == other)


def test_settings_beyond_the_fiftieth_count():
    same = {f"key{number:03}": number for number in range(60)}
    changed = {name: value + 1 for name, value in same.items() if name != "key059"}
    found = varied([same, same | changed, {name: value + 1 for name, value in same.items()}], [])
    assert found[1] != found[2]


def test_plans_of_several_sweeps_name_what_was_typed_in_all():
    configs = [member_config(seed, reward) for seed in (0, 1) for reward in ("sequential", "maximum")]
    plans = [{"reward": reward, "experiment": "x"} for reward in ("sequential", "maximum")]
    plans += [{"reward": reward, "phase.steps": "80"} for reward in ("sequential", "maximum")]
    assert varied(configs, plans) == [{"reward": plan["reward"]} for plan in plans]
    # nor do plans part what the configurations do not
    plans = [plan | {"experiment": name} for plan, name in zip(plans, "xxyy", strict=True)]
    assert "reward.terms.local" in varied(configs, plans)[0]


BOMBS = {
    "many": "a: &a [x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "empty": "a: &a [[], [], [], []]\n"
    + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "endless": "a: &a [x, *a, *a]\n",
    "wide": "".join(f"key{number}: {number}\n" for number in range(6_000)),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_few_lines_that_stand_for_a_great_deal_cost_little(bomb):
    config = yaml.safe_load(BOMBS[bomb])
    start_s = time.perf_counter()
    found = varied([config, config | {"own": 1}, {"other": 2}], [])
    assert time.perf_counter() - start_s < 5
    assert len(flattened(config)) <= MAX_NODES
    assert len(found) == 3 and found[1] != found[2]


def test_members_that_start_from_runs_of_their_seeds_are_one_configuration():
    made = [{"seed": seed, "model": {"width": 8, "seed": seed}} for seed in (0, 1)]
    begun = [
        {"seed": seed, "start_after": f"sweep/{seed}", "model": {"path": f"sweep/{seed}/exported"}} for seed in (0, 1)
    ]
    found = varied([*made, *begun], [])
    assert found[0] == found[1] != found[2] == found[3]
    elsewhere = {**begun[1], "model": {"path": "another/exported"}}
    found = varied([*made, begun[0], elsewhere], [])
    assert found[2] != found[3]
