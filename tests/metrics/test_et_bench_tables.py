import time

import numpy as np
import pytest

from museg.dialogue.et_bench_answers import TASKS
from museg.metrics.et_bench_tables import corrected_table, official_table

NEEDS = {"similarity": lambda text, options: [0.0] * len(options), "num_options": 4}
MAKERS = {"official": official_table, "corrected": corrected_table}


def row(task: str) -> dict:
    tgt = [0, 10] if task in ("tvg", "epm", "gvq") else [[0, 10]]
    return {"task": task, "video": "a.mp4", "tgt": tgt, "o": ["a", "b", "c", "d"], "p": 0, "g": ["somebody cooks"]}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("maker", MAKERS)
def test_every_task_is_scored(task, maker):
    table = MAKERS[maker](task, **NEEDS)
    if table is None:
        assert (maker, task) == ("corrected", "vhd")
        return
    for position, text in enumerate(
        ["(A) 0 - 10, somebody cooks", "no", "", "1..2 - 3", "\ud800 5 - 5", "9" * 400 + " - 1"]
    ):
        table.update(position, text, row(task))
    found = table.compute()
    assert found
    if maker == "official":
        assert list(found)[:2] == ["Total", "Failed"]
        assert found["Total"] == 6


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("maker", MAKERS)
def test_arrays_of_means_are_summarised_element_by_element(task, maker):
    table = MAKERS[maker](task, **NEEDS)
    if table is None:
        return
    means = np.random.default_rng(0).integers(0, 8, (3, len(table.columns))) / 8
    together = table.summarise(dict(zip(table.columns, means.T, strict=True)))
    for index, single in enumerate(means):
        alone = table.summarise(dict(zip(table.columns, single.tolist(), strict=True)))
        assert {name: values[index] for name, values in together.items()} == pytest.approx(alone, abs=2e-5)


@pytest.mark.parametrize("task", ["tal", "evs"])
def test_a_quarter_of_a_million_ranges_against_two_hundred(task):
    truths = {"tgt": [[k, k + 1] for k in range(218)]}
    started_s = time.process_time()
    for make in MAKERS.values():
        table = make(task)
        table.update(0, "1-2 " * 250_000, truths)
        assert table.compute()
    assert time.process_time() - started_s < 20  # about two seconds


def test_what_a_table_cannot_do_without():
    for make in MAKERS.values():
        with pytest.raises(ValueError, match="unknown task 'mr'"):
            make("mr", **NEEDS)
        with pytest.raises(ValueError, match="gvq compares an answer without a letter"):
            make("gvq")
        with pytest.raises(ValueError, match="rar needs the number of options"):
            make("rar", similarity=NEEDS["similarity"])
