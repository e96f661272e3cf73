import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from museg.dialogue.responses import ParsedResponse, read_strict
from museg.rewards.base import Reward
from museg.rewards.format import FormatReward
from museg.rewards.mix import RewardMix
from museg.rewards.sequential import SequentialMatchingReward
from museg.rewards.timestamp import TimestampReward
from museg.temporal.segments import Segment


@dataclass(frozen=True)
class Constant(Reward):
    """A reward of a fixed value."""

    value: float

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        return self.value


SILENT = read_strict("<think>soon</think><answer>2-5</answer>")


def test_total_is_the_weighted_sum_and_terms_are_unweighted():
    mix = RewardMix({"a": Constant(2.0), "b": Constant(3.0), "c": Constant(5.0)}, {"b": 0.5, "c": 0})
    scored = mix.score(SILENT, [])
    assert scored.terms == {"a": 2.0, "b": 3.0, "c": 5.0}
    assert scored.total == 2.0 + 0.5 * 3.0 + 0
    assert mix.term_names == ("a", "b", "c")


def test_terms_that_are_off_leave_no_trace():
    mix = RewardMix({"format": FormatReward(), "timestamp": TimestampReward()})
    assert mix.score(SILENT, []).terms == {"format": 1.0, "timestamp": -0.4}
    without = mix.score(SILENT, [], off=("timestamp",))
    assert (without.total, without.terms) == (1.0, {"format": 1.0})
    assert mix.score(SILENT, [], off=("timestamp", "not a term")).total == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_counts_zero(value):
    scored = RewardMix({"a": Constant(value), "b": Constant(1.0)}).score(SILENT, [])
    assert (scored.total, scored.terms) == (1.0, {"a": 0.0, "b": 1.0})


def test_an_infinite_prediction_reaches_no_group():
    mix = RewardMix({"local": SequentialMatchingReward()})
    response = read_strict("<think>a</think><answer>1-inf</answer>")
    assert math.isnan(mix.terms["local"](response, [Segment(1, 2)]))
    assert mix.score(response, [Segment(1, 2)]).total == 0.0


def test_the_sum_runs_in_the_order_of_the_terms():
    # left to right 1e16 + 1 is 1e16 again, minus 1e16 leaves 0; a compensated sum would give 1
    mix = RewardMix({"a": Constant(1e16), "b": Constant(1.0), "c": Constant(-1e16)})
    assert mix.score(SILENT, []).total == 0.0


def test_refused_mixes():
    with pytest.raises(ValueError, match="at least one term"):
        RewardMix({})
    with pytest.raises(ValueError, match=r"weights names locla.*terms are local"):
        RewardMix({"local": Constant(1.0)}, {"locla": 1.0})
    with pytest.raises(ValueError, match="finite"):
        RewardMix({"local": Constant(1.0)}, {"local": math.nan})

    with pytest.raises(ValueError, match="term local must be a Reward"):
        RewardMix({"local": {"_target_": "museg.rewards.maximum.MaximumMatchingReward"}})


def test_a_mix_keeps_its_own_copies():
    terms = {"a": Constant(1.0)}
    mix = RewardMix(terms)
    terms["b"] = Constant(1.0)
    assert mix.term_names == ("a",)
