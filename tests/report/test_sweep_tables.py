import csv

import pytest

from museg.metrics.keys import HELD_OUT_SCORES
from museg.report.sweep_folder import read_sweep
from museg.report.sweep_results import configurations
from museg.report.sweep_statistics import estimate
from museg.report.sweep_tables import (
    START,
    headline_columns,
    headline_rows,
    markdown_table,
    score_rows,
    write_members,
    write_results,
)
from tests.report.invented_sweep import NOW_S, write_invented_sweep


@pytest.fixture
def half(tmp_path):
    """Sequential with three seeds, maximum with two, the rest to come."""
    sweep = read_sweep(write_invented_sweep(tmp_path / "sweep", num_members=5), NOW_S)
    return sweep, configurations(sweep)


def rows_of(file) -> list[dict[str, str]]:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def test_the_table_has_a_row_for_each_configuration(half):
    _, found = half
    rows = headline_rows(found, found[0])
    assert [(row.label, row.seeds) for row in rows] == [
        (START, "3"),
        ("reward=sequential", "3"),
        ("reward=maximum", "2 of 3"),
        ("reward=global_only", "0 of 3"),
        ("reward=local_only", "0 of 3"),
    ]
    assert [mode for mode, _ in headline_columns(found)] == ["greedy", "sampled"]
    sequential, maximum, to_come = (row.cells[0] for row in rows[1:4])
    assert sequential.difference == "" and " to " in sequential.interval
    assert maximum.difference[0] in "+−" and " to " in maximum.difference_interval
    assert to_come.text == "–" and to_come.interval == to_come.difference == ""


def test_every_score_has_a_row_in_both_modes(half):
    _, found = half
    tables = dict(score_rows(found, found[0]))
    assert {row.column.name for row in tables["greedy"]} == set(HELD_OUT_SCORES)
    assert all(len(row.cells) == len(found) for rows in tables.values() for row in rows)


def test_the_files_hold_the_numbers_of_the_table_and_of_each_other(half, tmp_path):
    sweep, found = half
    results = rows_of(write_results(tmp_path, found, found[0]))
    members = rows_of(write_members(tmp_path, sweep, found))
    assert {member["total_steps"] for member in members} == {"180", ""}
    assert [member["status"] for member in members] == ["finished"] * 5 + ["not started"] * 7
    by_seed = {
        label: {m["seed"]: float(m["greedy/mean_iou"]) for m in members if m["configuration"] == label and m["folder"]}
        for label in ("reward=sequential", "reward=maximum")
    }
    picked = {row["configuration"]: row for row in results if (row["mode"], row["score"]) == ("greedy", "mean_iou")}
    assert list(picked) == list(by_seed)  # what has no finished member has no row
    for label, values in by_seed.items():
        known, row = estimate(list(values.values())), picked[label]
        assert [float(row[name]) for name in ("mean", "low", "high")] == [known.mean, known.low, known.high]
        assert row["num_seeds"] == str(len(values)) and row["reward"] == label.partition("=")[2]
    apart = [by_seed["reward=maximum"][seed] - by_seed["reward=sequential"][seed] for seed in "01"]
    assert float(picked["reward=maximum"]["difference"]) == pytest.approx(sum(apart) / 2)
    assert picked["reward=maximum"]["num_pairs"] == "2"
    assert picked["reward=sequential"]["difference"] == "" and picked["reward=sequential"]["baseline"] == found[0].label


def test_the_markdown_table_has_one_width(half):
    _, found = half
    lines = markdown_table(found, found[0]).splitlines()
    assert len(lines) == 2 + len(found)
    assert {line.count("|") for line in lines} == {7}
    assert lines[-1] == "| reward=local_only | 0 | – | – | – | – |"
