import pytest
from hydra.errors import HydraException

from museg.config.suggestions import closest, explain
from tests.config.options import compose


def explained(*overrides):
    with pytest.raises(HydraException) as caught:
        compose(*overrides)
    return explain(caught.value)


@pytest.mark.parametrize(
    ("override", "valid", "match"),
    [
        ("phase.stepz=3", "Valid keys of phase: steps, total_steps, restart, phases", "phase.steps"),
        ("reward=sequental", "\tsequential\n", "sequential"),
        ("model.hiden_size=1", "hidden_size", "model.hidden_size"),
        ("rewrad=maximum", "Valid keys: name, seed", "reward"),
        ("reward.terms.timestamp.penaltyy=1", "Valid keys of reward.terms.timestamp: _target_, penalty", "penalty"),
        ("phase.phases.plain.promt=x", "num_steps, prompt, rewards", "phase.phases.plain.prompt"),
        ("num_generations=4", "rollout", "rollout.num_generations"),
        ("model.lora.rnk=4", "rank, alpha, dropout, targets", "model.lora.rank"),
        ("model.lora.targets.q_prj=false", "q_proj, k_proj, v_proj", "model.lora.targets.q_proj"),
    ],
)
def test_names_what_is_valid_and_the_closest(override, valid, match):
    message = explained(override)
    assert valid in message
    assert message.splitlines()[-1].endswith(f"{match}?")
    assert "To append to your config" not in message


def test_an_entry_of_an_open_mapping_is_shown_how_to_add():
    assert "write +reward.terms.extra=..." in explained("reward.terms.extra=1")


@pytest.mark.parametrize(
    ("override", "reason"),
    [("phase.steps=abc", "Integer"), ("optimizer.lr=fast", "Float"), ("phase.restart=perhaps", "bool")],
)
def test_a_wrong_type_is_named(override, reason):
    message = explained(override)
    assert override in message and reason in message


def test_nothing_is_suggested_for_what_resembles_nothing():
    assert list(closest("qqq", ["sequential", "maximum"])) == []


def test_a_value_in_the_place_of_several_settings():
    message = explained("model.lora=16")
    told = "model.lora holds several settings (rank, alpha, dropout, targets): write model.lora.rank=..."
    assert told in message and "is not a subclass" not in message
