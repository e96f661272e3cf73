"""Reader and scores of the released grounding evaluation, against all its recorded numbers.

Source: THUNLP-MT/MUSEG 889565e, src/eval_grounding.py.
"""

import json

import pytest

from museg.dialogue.responses import read_lenient, read_lenient_answer
from museg.metrics.released_grounding import ReleasedGroundingTable
from tests.shared import ORACLES, require

TASKS = ("tvg", "tal")


def record() -> dict:
    return json.loads(require(ORACLES / "museg_eval.json").read_text("utf-8"))


def generated() -> dict:
    return json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))


def scored(task: str, entries: list) -> dict[str, float]:
    table = ReleasedGroundingTable(task)
    for position, (truths, output) in enumerate(entries):
        table.update(position, read_lenient_answer(output), truths)
    return {"tot": len(entries), **table.compute()}


def check(task: str, entries: list, stats: dict, accuracy: float = 1e-9) -> None:
    """Recorded statistics write NaN as "nan"."""
    found = scored(task, entries)
    expected = {name: float(value) for name, value in stats.items()}
    assert found == pytest.approx(expected, abs=accuracy, nan_ok=True), entries[:1]
    assert list(found) == list(stats)


def test_forty_recorded_datasets():
    datasets = record()["datasets"]
    assert len(datasets) == 40
    for dataset in datasets:
        for task in TASKS:
            check(task, dataset["entries"], dataset[task])


def test_recorded_single_cases():
    cases = record()["single_cases"]
    assert len(cases) == 78
    for case in cases:
        entries = [(case["groundtruth"], case["output"])]
        if case.get("error"):
            assert not case["groundtruth"]  # the release raises; such a row is refused where annotations are read
            for task in TASKS:
                found = scored(task, entries)
                assert found == {**dict.fromkeys(found, 0.0), "tot": 1}
            continue
        for task in TASKS:
            check(task, entries, case[task])


@pytest.mark.parametrize("task", TASKS)
def test_generated_cases(task):
    part = generated()["museg_grounding"][task]
    entries = [(case["groundtruth"], case["output"]) for case in part["cases"]]
    assert len(entries) == 200
    check(task, entries, part["all"], accuracy=1e-6)  # recorded with six decimals
    for entry, case in zip(entries, part["cases"], strict=True):
        check(task, [entry], case["out"], accuracy=1e-6)


def test_generated_traps():
    cases = generated()["museg_grounding_edge"]
    assert len(cases) == 22
    for case in cases:
        check(case["kind"], [(case["groundtruth"], case["output"])], case["out"], accuracy=1e-6)


def test_the_text_read_is_the_inside_of_the_answer_block():
    for case in record()["single_cases"]:
        if "answer>" not in case["output"]:
            response = read_lenient(f"<think>first</think><answer> {case['output']}\n</answer>")
            assert response.segments == read_lenient_answer(case["output"])
