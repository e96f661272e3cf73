"""Where the time of a step goes: parts add up, and the files say it."""

import csv
import json
import time

import pytest

from museg.training.profile import (
    EVERYTHING_ELSE,
    TRACED_STEPS,
    WARM_UP_STEPS,
    Parts,
    StepTimes,
    as_text,
    part_table,
    profiled,
)

UNCOUNTED = WARM_UP_STEPS + TRACED_STEPS


def times(calls: dict[str, int] | None = None, **seconds: float) -> StepTimes:
    found = StepTimes()
    found.seconds.update({name.replace("_", " "): value for name, value in seconds.items()})
    found.calls.update(calls or {})
    return found


def test_the_table_by_hand():
    steps = [
        times({"rollout": 1}, rollout=0.3, everything_else=0.1),
        times({"rollout": 1, "checkpoint": 1}, rollout=0.2, checkpoint=0.3, everything_else=0.1),
    ]
    # 1 second in two steps of 0.4 and 0.6; the checkpoint is in one of them
    rows = {row["part"]: [row[key] for key in ("mean_ms", "median_ms", "share", "calls")] for row in part_table(steps)}
    assert rows == {
        "whole step": [500, 500, 1, 1],
        "rollout": [250, 250, 0.5, 1],
        "checkpoint": [150, 300, 0.3, 0.5],
        EVERYTHING_ELSE: [100, 100, 0.2, 0],
    }
    assert list(rows) == ["whole step", "rollout", "checkpoint", EVERYTHING_ELSE]  # longest first
    assert part_table([]) == []


def test_the_text_fits_a_terminal_of_80_columns():
    lines = as_text(part_table([times(rollout=12345.678, everything_else=1e-4)]), 1).splitlines()
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1 and len(lines[0]) <= 80
    assert lines[2].split() == ["rollout", "12345678.0", "12345678.0", "100.0%", "0.00"]


def profiled_steps(parts: Parts, num_steps: int) -> None:
    for _ in range(num_steps):
        with parts("outer"):
            time.sleep(0.004)
            with parts("inner"):
                time.sleep(0.008)
        time.sleep(0.002)
        parts.end_step()


def test_the_clock_belongs_to_the_innermost_part(tmp_path):
    parts = Parts(tmp_path / "trace.json")
    time.sleep(0.05)
    parts.begin()  # what lies before is nobody's
    profiled_steps(parts, UNCOUNTED)
    measured_from_s = time.perf_counter()
    profiled_steps(parts, 2)
    lasted_s = time.perf_counter() - measured_from_s
    assert parts.num_ended == UNCOUNTED + 2 and len(parts.steps) == 2
    for step in parts.steps:
        assert step.seconds.keys() == {"outer", "inner", EVERYTHING_ELSE}
        assert step.calls == {"outer": 1, "inner": 1}
        assert step.seconds["outer"] >= 0.004 and step.seconds["inner"] >= 0.008
        assert step.seconds[EVERYTHING_ELSE] >= 0.002
    assert sum(sum(step.seconds.values()) for step in parts.steps) == pytest.approx(lasted_s, abs=0.002)


def test_a_part_that_fails_ends_there(tmp_path):
    parts = Parts(tmp_path / "trace.json")
    with pytest.raises(KeyError), parts("outer"), parts("inner"):
        raise KeyError
    with parts("next"):
        pass
    assert parts._open == [EVERYTHING_ELSE]


def test_files_of_a_profile(tmp_path, capsys):
    with profiled(tmp_path, is_wanted=True) as parts:
        profiled_steps(parts, UNCOUNTED + 3)
    found = json.loads((tmp_path / "profile.json").read_text())
    assert found["num_steps"] == 3
    with (tmp_path / "profile.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["part"] for row in rows] == [row["part"] for row in found["parts"]]
    assert {row["part"]: float(row["mean_ms"]) for row in rows}["inner"] >= 8
    assert "inner" in capsys.readouterr().out
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == "inner" and event.get("ph") == "X" for event in events) == TRACED_STEPS


def test_a_run_too_short_for_a_table_says_so_and_leaves_its_trace(tmp_path, capsys):
    with profiled(tmp_path, is_wanted=True) as parts:
        profiled_steps(parts, WARM_UP_STEPS + 1)
    assert f"{WARM_UP_STEPS + 1} steps are too few" in capsys.readouterr().out
    assert (tmp_path / "trace.json").exists() and not (tmp_path / "profile.csv").exists()


def test_without_profile_nothing_is_measured_or_written(tmp_path, capsys):
    with profiled(tmp_path, is_wanted=False) as parts:
        assert parts is None
    assert not list(tmp_path.iterdir()) and capsys.readouterr().out == ""
