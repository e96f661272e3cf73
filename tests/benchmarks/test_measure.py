"""What the benchmarks share: rounds, ratios, the peak of a fresh process, the layout of the results."""

import json
import time

import pytest
import torch

from tests.benchmarks import measure
from tests.benchmarks.measure import Shape


def holding(size_mib):
    """Work that holds so much for a moment."""
    return lambda: torch.ones(size_mib * 2**18).sum()


def gives_up(reason):
    raise SystemExit(reason)


def test_shapes_read_what_they_print():
    assert Shape.read("1024x128x8") == Shape(prompt=1024, completion=128, generations=8)
    assert str(Shape(2048, 64, 4)) == "2048x64x4"


def test_sides_run_in_turns_after_one_round_of_warming_up():
    calls = []
    sides = {"a": lambda: calls.append("a") or time.sleep(0.02), "b": lambda: calls.append("b")}
    found = measure.interleaved(sides, 2)
    assert "".join(calls) == "ab" * 3
    assert min(found["wall_s"]["a"]) >= 0.02 > max(found["wall_s"]["b"])
    assert max(found["processor_s"]["a"]) < 0.02  # asleep
    assert all(len(runs) == 2 for sides in found.values() for runs in sides.values())


def test_ratios_are_of_medians_and_their_spread_over_rounds():
    runs = {"ours": [1.0, 2.0, 4.0], "theirs": [8.0, 6.0, 4.0]}
    row = measure.comparison(
        "a step",
        Shape(8, 2, 2),
        ours="ours",
        seconds={"wall_s": runs, "processor_s": runs},
        peaks_mib={"ours": 10.0, "theirs": 45.0},
        left_out={"another": "too large"},
    )
    # medians 2 and 6; round by round 8, 3 and 1
    assert row == {
        "measure": "a step",
        "shape": "8x2x2",
        "ours": "ours",
        "sides": {
            "ours": {"seconds": runs["ours"], "processor_seconds": runs["ours"], "peak_mib": 10.0},
            "theirs": {"seconds": runs["theirs"], "processor_seconds": runs["theirs"], "peak_mib": 45.0},
        },
        "ratio": {"ours": 1.0, "theirs": 3.0},
        "spread": {"ours": [1.0, 1.0], "theirs": [1.0, 8.0]},
        "memory_ratio": {"ours": 1.0, "theirs": 4.5},
        "left_out": {"another": "too large"},
    }


def test_the_peak_is_that_of_the_work_in_a_fresh_process():
    torch.ones(2**28).sum()  # 1 GiB held here before counts for nothing there
    assert measure.peak_mib(holding, 96) == pytest.approx(96, abs=16)


def test_results_are_written_as_the_summary_reads_them(tmp_path):
    row = measure.comparison("a part", "tiny", ours="ours", values={"wait_percent": 1.5})
    file = measure.write_results("parts", [row], tmp_path / "new" / "found.json")
    found = json.loads(file.read_text("utf-8"))
    assert found["benchmark"] == "parts" and found["machine"]["num_cores"] >= 1
    assert found["rows"] == [
        {"measure": "a part", "shape": "tiny", "ours": "ours", "sides": {}, "values": {"wait_percent": 1.5}}
    ]


def test_a_benchmark_that_gives_up_in_a_fresh_process_ends_this_one_with_its_reason():
    with pytest.raises(SystemExit, match="sides disagree"):
        measure.in_new_process(gives_up, "sides disagree")
