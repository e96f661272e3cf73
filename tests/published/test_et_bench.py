"""Ten tasks of E.T. Bench against the published evaluation: every recorded case, group and trap, and what was parsed.

Where the script stopped with an exception, the answer must be a counted failure that scores 0.
"""

import json
from functools import cache

import pytest

from museg.dialogue.et_bench_answers import CHOICE_TASKS, RANGE_TASKS, read_ranges
from museg.metrics.et_bench_choices import compared_texts
from museg.metrics.et_bench_table import FAILED, RAISES
from museg.metrics.et_bench_tables import official_table
from museg.metrics.sample_table import SampleTable
from tests.shared import ORACLES, require

TASKS = (*CHOICE_TASKS, *RANGE_TASKS, "vhd")


@cache
def record() -> dict:
    return json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))


class WordOverlap:
    """The stand-in for a sentence encoder with which the record was made; remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, text, options):
        scores = [self.between(text, option) for option in options]
        self.asked += [[text, option, score] for option, score in zip(options, scores, strict=True)]
        return scores

    @staticmethod
    def between(one: str, other: str) -> float:
        words, others = set(one.lower().split()), set(other.lower().split())
        return len(words & others) / len(words | others) if words | others else 0.0


def filled(samples: list[dict], similarity=None) -> SampleTable:
    first = samples[0]
    num_options = len(first["o"]) if "o" in first else None
    table = official_table(first["task"], similarity=similarity or WordOverlap(), num_options=num_options)
    for position, sample in enumerate(samples):
        table.update(position, sample["a"], sample)
    return table


def expected(out: dict) -> dict[str, float]:
    return {name: float("nan") if value is None else value for name, value in out.items()}


def check_case(case: dict) -> None:
    sample, out = case["sample"], case["out"]
    similarity = WordOverlap()
    table = filled([sample], similarity)
    scores = table.compute()
    if "error" in out:
        row = dict(zip(table.columns, table.table()[1][0].tolist(), strict=True))
        assert row[RAISES] == row[FAILED] == 1.0
        assert scores == {**dict.fromkeys(scores, 0.0), "Total": 1.0, "Failed": 1.0}
        return
    assert scores == pytest.approx(expected(out), abs=1e-9, nan_ok=True), sample
    assert list(scores) == list(out)
    calls = [[text, option] for text, option, _ in case.get("similarity_calls", [])]
    assert [[text, option] for text, option, _ in similarity.asked] == calls
    asked = compared_texts(sample["task"], sample["a"], sample)
    assert asked == ([calls[0][0], *(option for _, option in calls)] if calls else [])


def check_parsed(case: dict) -> None:
    """`parsed` tells what the published reader of ranges returned, or that it raised."""
    reading = read_ranges(case["sample"]["a"])
    if case["parsed"] == {"error": "ValueError"}:
        assert reading.failure == "official_raises"
    else:
        found = None if reading.segments is None else [list(segment) for segment in reading.segments]
        assert found == case["parsed"]


@pytest.mark.parametrize("task", TASKS)
def test_recorded_cases(task):
    cases = record()["museg_etbench"][task]["cases"]
    assert len(cases) == 200
    for case in cases:
        check_case(case)
        if task in RANGE_TASKS:
            check_parsed(case)


@pytest.mark.parametrize("task", TASKS)
def test_recorded_groups(task):
    cases, groups = record()["museg_etbench"][task]["cases"], record()["museg_etbench"][task]["groups"]
    assert len(groups) == 11
    for group in groups:
        table = filled([cases[index]["sample"] for index in group["members"]])
        assert table.compute() == expected(group["out"])


def test_recorded_traps():
    traps = [case for case in record()["museg_edge"] if case["sample"]["task"] in TASKS]
    assert len(traps) == 58
    for case in traps:
        check_case(case)
        if "parsed" in case:
            check_parsed(case)


def test_recorded_sources_of_a_whole_run():
    whole = record()["museg_whole"]
    for task in TASKS:
        by_source = {}
        for index in whole["members"][task]:
            sample = record()["museg_etbench"][task]["cases"][index]["sample"]
            by_source.setdefault(sample["source"], []).append(sample)
        assert {source: filled(samples).compute() for source, samples in by_source.items()} == {
            source: expected(out) for source, out in whole["per_source"][task].items()
        }
