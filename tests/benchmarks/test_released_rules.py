"""The plain rules that scoring is measured against, on the recorded numbers of the released code."""

import json

import pytest

from tests.benchmarks import released_parsers, released_rules
from tests.benchmarks.test_scoring import WordOverlap
from tests.shared import ORACLES, require


def record(name):
    return json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))[name]


def scores_of(samples):
    (scores,) = released_rules.et_bench(samples, [sample["a"] for sample in samples], WordOverlap.between).values()
    return scores


def test_every_recorded_case_of_et_bench():
    cases = [case for task in record("museg_etbench").values() for case in task["cases"]]
    assert len(cases) > 1000
    for case in cases:
        if "error" in case["out"]:
            continue
        scores = scores_of([case["sample"]])
        expected = {name: float("nan") if value is None else value for name, value in case["out"].items()}
        # the caption scores of dense captioning are not among the plain rules
        assert scores == pytest.approx({name: expected[name] for name in scores}, abs=1e-9, nan_ok=True), case


def test_recorded_cases_of_the_grounding_script():
    cases = record("museg_grounding")["tvg"]["cases"]
    for case in cases:
        expected = {name: value for name, value in case["out"].items() if name != "tot"}
        scores = released_rules.grounding_tvg([case], [case["output"]])
        assert scores == pytest.approx(expected, abs=1e-6), case


def test_answers_stand_in_their_only_block():
    assert released_parsers.answer_of("<think>a</think> <answer> 1 - 2 </answer>") == "1 - 2"
    assert released_parsers.answer_of("1 - 2") == ""
    assert released_parsers.answer_of("<answer>1 - 2</answer><answer>1 - 2</answer>") == ""
