from dataclasses import fields

import pytest

from museg.config.reward_schema import reward_classes, term_schemas, typed_term
from museg.rewards.mix import RewardMix
from museg.rewards.timestamp import TimestampReward

TIMESTAMP = "museg.rewards.timestamp.TimestampReward"


def test_every_concrete_reward_has_a_schema_with_its_fields():
    assert {"museg.rewards.format.FormatReward", "museg.rewards.maximum.MaximumMatchingReward"} <= set(term_schemas())
    for reward in reward_classes():
        schema = term_schemas()[f"{reward.__module__}.{reward.__qualname__}"]
        assert {item.name for item in fields(schema)} == {"_target_"} | {item.name for item in fields(reward)}
    assert RewardMix not in set(reward_classes())


def test_defaults_are_filled_in_and_types_kept():
    default = TimestampReward().penalty
    assert typed_term({"_target_": TIMESTAMP}) == {"_target_": TIMESTAMP, "penalty": default}
    assert typed_term({"_target_": TIMESTAMP, "penalty": 1})["penalty"] == 1.0


@pytest.mark.parametrize(
    ("term", "message"),
    [
        ({"_target_": TIMESTAMP, "penalti": 1}, "penalti.*penalty"),
        ({"_target_": TIMESTAMP, "penalty": "much"}, "much.*Float"),
        ({"_target_": "museg.rewards.mix.RewardMix"}, "must be one of"),
        ({"_target_": "os.system"}, "must be one of"),
        ({"penalty": 1}, "_target_"),
        (0.5, "a term is a mapping"),
    ],
)
def test_refuses(term, message):
    with pytest.raises(ValueError, match=message):
        typed_term(term)
