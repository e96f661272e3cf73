"""`reward=sequential` against 1,000 completions scored by the released code (THUNLP-MT/MUSEG 889565e, src/train.py)."""

import json
import math

import pytest

from museg.dialogue.responses import read_strict
from museg.evaluation.solutions import score_completions, score_solution
from museg.rewards.mix import RewardMix
from museg.temporal.segments import Segment
from tests.rewards.reward_options import load_mix
from tests.shared import ORACLES, require

TOLERANCE = 1e-9
NAMES = ("format_timestamp", "format", "global", "local", "segment")


def recorded_cases() -> list[dict]:
    return [json.loads(line) for line in require(ORACLES / "museg_rewards.jsonl").read_text("utf-8").splitlines()]


def our_values(mix: RewardMix, case: dict) -> dict[str, float]:
    """Our scores under the names of the record."""
    response, solution = read_strict(case["completion"]), case["solution"]
    terms = score_solution(mix, response, solution, ()).terms
    return {
        "format_timestamp": terms["format"] + terms["timestamp"],
        "format": terms["format"],
        "global": terms["coverage"],
        "local": terms["local"],
        "segment": terms["coverage"] + terms["local"],
    }


def test_a_thousand_recorded_rewards():
    mix, cases = load_mix("sequential"), recorded_cases()
    assert len(cases) == 1000
    wrong = []
    for number, case in enumerate(cases, start=1):
        ours = our_values(mix, case)
        # The one departure: the undefined local matching is 0 here (the next test looks at exactly these cases).
        departure = {"local": 0.0, "segment": float(case["global"])} if math.isnan(float(case["local"])) else {}
        for name in NAMES:
            expected = departure.get(name, float(case[name]))
            if not abs(ours[name] - expected) <= TOLERANCE:
                wrong.append(f"line {number} ({case['category']}) {name}: {ours[name]} instead of {expected}")
    assert not wrong, "\n".join(wrong)


def test_the_documented_departure_is_undefined_exactly_where_the_release_is():
    mix, cases = load_mix("sequential"), recorded_cases()
    undefined = [case for case in cases if math.isnan(float(case["local"]))]
    assert len(undefined) == 14
    assert all(math.isnan(float(case["segment"])) for case in undefined)
    for case in undefined:
        response, targets = read_strict(case["completion"]), [Segment(*entry[:2]) for entry in case["solution"]]
        assert math.isnan(mix.terms["local"](response, targets))  # the term itself agrees with the release ...
        assert mix.score(response, targets).terms["local"] == 0.0  # ... and the mix keeps it from the group


def test_totals_of_both_stages_from_the_file():
    # stage 1: format_timestamp + segment; stage 2: format + segment; an undefined local matching is 0 here
    mix, path = load_mix("sequential"), require(ORACLES / "museg_rewards.jsonl")
    stage_1, stage_2 = score_completions(path, mix, ()), score_completions(path, mix, ("timestamp",))
    for number, (case, one, two) in enumerate(zip(recorded_cases(), stage_1, stage_2, strict=True)):
        released = {name: float(case[name]) for name in NAMES}
        segment = released["global"] if math.isnan(released["segment"]) else released["segment"]
        assert (one["id"], two["id"]) == (number, number)
        assert one["total"] == pytest.approx(released["format_timestamp"] + segment, abs=TOLERANCE)
        assert two["total"] == pytest.approx(released["format"] + segment, abs=TOLERANCE)
