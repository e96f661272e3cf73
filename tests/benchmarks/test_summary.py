"""The table of what the benchmarks found."""

import json

import pytest

from tests.benchmarks import summary
from tests.benchmarks.measure import comparison, write_results


def row(measure, shape, ours, runs, **more):
    return comparison(measure, shape, ours=ours, seconds={"wall_s": runs, "processor_s": runs}, **more)


def lines_of(benchmark, row):
    return list(summary.lines_of(benchmark, row))


def test_ratios_stand_beside_their_goals():
    runs = {"ours": [1.0, 2.0, 1.0], "trl": [4.5, 14.0, 6.0], "trl_row_by_row": [2.0, 4.0, 2.0]}
    peaks_mib = {"ours": 100.0, "trl": 250.0, "trl_row_by_row": 50.0}
    # medians 1, 6 and 2; round by round 4.5, 7 and 6; at 1024 prompt tokens the goal is 5
    time, slow, memory, small = lines_of("step", row("a step", "1024x128x8", "ours", runs, peaks_mib=peaks_mib))
    assert time == ("a step", "1024x128x8", "time, trl", ">= 5", "6.00x", "4.50x to 7.00x")
    assert slow == ("a step", "1024x128x8", "time, trl_row_by_row", "", "2.00x", "2.00x to 2.00x")
    assert memory == ("a step", "1024x128x8", "memory, trl", "", "2.50x", "")
    assert small[2:5] == ("memory, trl_row_by_row", "", "0.50x")


@pytest.mark.parametrize(
    ("shape", "goal", "found"),
    [("1024x128x8", ">= 5", "6.00x"), ("2048x128x8", ">= 7", "6.00x (missed)"), ("9x9x9", "", "6.00x")],
)
def test_goals_go_by_shape(shape, goal, found):
    ((*_, said, shown, _),) = lines_of("step", row("a step", shape, "ours", {"ours": [1.0], "trl": [6.0]}))
    assert (said, shown) == (goal, found)


def test_what_is_almost_a_goal_misses_it():
    found = lines_of("main_job", row("main job, whole", "seed 0", "ours", {"ours": [401.9], "first": [601.3]}))
    assert found[0][3:5] == (">= 1.5", "1.50x (missed)")  # 1.496


def test_values_without_a_goal_are_left_out():
    values = {"cold, share": 0.06, "warm, share": 0.004, "longest wait, seconds": 3.0}
    lines = lines_of("video", comparison("waiting for video", "60 steps", ours="train.py", values=values))
    assert [line[2:5] for line in lines] == [
        ("cold, share", "<= 0.05", "0.06 (missed)"),
        ("warm, share", "<= 0.005", "0.004"),
    ]


def test_a_goal_for_one_measure_is_for_no_other():
    rows = [comparison(name, "14x8", ours="ours", values={"ms": 7.0}) for name in ("reading and rewards", "advantages")]
    assert [line[0] for row in rows for line in lines_of("parts", row)] == ["reading and rewards"]


def test_prints_a_table_for_all_files_of_a_machine(tmp_path, capsys):
    runs = {"ours": [1.0], "released": [9.0]}
    for name in ("log_probs", "log_probs_grid"):
        write_results(name, [row(name, "2048x128x8", "ours", runs)], tmp_path / f"{name}.json")
    (tmp_path / "other.json").write_text(json.dumps({"machine": {}}))
    summary.main([str(file) for file in sorted(tmp_path.glob("*.json"))])
    machine, _, *table = capsys.readouterr().out.strip().splitlines()
    assert machine.endswith("threads:")
    assert table == [
        "| measure | shape | what | goal | found | lowest to highest |",
        "| --- | --- | --- | --- | --- | --- |",
        "| log_probs | 2048x128x8 | time, released | >= 8 | 9.00x | 9.00x to 9.00x |",
    ]
