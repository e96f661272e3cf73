"""The two released annotation files are read completely, and what they hold is what was counted in them."""

from collections import Counter
from functools import cache

import pytest

from museg.data.readers import ReadReport, read_museg_jsonl
from tests.shared import ANNOTATIONS, require

STAGES = ("stage_1", "stage_2")

COUNTS = {
    "rows": (5600, 7000),
    "tvg": (3030, 3789),
    "tal": (2570, 3211),
    "one segment": (3086, 3881),
    "tal with one segment": (56, 92),
    "most segments": (10, 10),
    "charades": (2819, 3518),
    "hacs": (2222, 2744),
    "activitynet": (348, 467),
    "didemo": (158, 206),
    "tacos": (53, 65),
    "duration absent": (2819, 3518),
    "videos": (5010, 6102),
    "queries": (3794, 4475),
    "video and query": (5600, 7000),
    "starts at 0": (696, 888),
}

FAULTS = (
    {"ends_past_duration": 194, "overlapping_segments": 48, "zero_length_segment": 2},
    {"ends_past_duration": 216, "overlapping_segments": 61, "zero_length_segment": 3, "reversed_segment": 2},
)


@cache
def report(stage: str) -> ReadReport:
    return read_museg_jsonl(require(ANNOTATIONS / "train" / f"{stage}.jsonl"))


def counted(examples) -> dict[str, int]:
    tasks = Counter(example.task for example in examples)
    sources = Counter(example.source for example in examples)
    return {
        "rows": len(examples),
        **tasks,
        **sources,
        "one segment": sum(len(example.targets) == 1 for example in examples),
        "tal with one segment": sum(example.task == "tal" and len(example.targets) == 1 for example in examples),
        "most segments": max(len(example.targets) for example in examples),
        "duration absent": sum(example.duration_s is None for example in examples),
        "videos": len({example.video for example in examples}),
        "queries": len({example.query for example in examples}),
        "video and query": len({(example.video, example.query) for example in examples}),
        "starts at 0": sum(segment.start_s == 0 for example in examples for segment in example.targets),
    }


@pytest.mark.parametrize("number", range(2))
def test_contents_are_those_counted(number):
    examples = report(STAGES[number]).examples
    assert counted(examples) == {name: both[number] for name, both in COUNTS.items()}


@pytest.mark.parametrize("number", range(2))
def test_faults_are_kept_and_counted(number):
    assert dict(report(STAGES[number]).kept_faults) == FAULTS[number]


def test_reversed_segment_stays_as_written():
    # stage_2 row 916: [38.0, 13.0]
    assert report("stage_2").examples[916].targets == ((38.0, 13.0),)


@pytest.mark.parametrize("stage", STAGES)
def test_ids_are_file_and_row_and_times_are_floats(stage):
    examples = report(stage).examples
    assert [example.example_id for example in examples] == [f"{stage}:{row}" for row in range(len(examples))]
    assert all(isinstance(time_s, float) for example in examples for segment in example.targets for time_s in segment)


def test_durations_and_means():
    for stage, shortest, longest in (("stage_1", 13.3, 259.1), ("stage_2", 13.7, 238.9)):
        durations = [example.duration_s for example in report(stage).examples if example.duration_s is not None]
        assert (min(durations), max(durations)) == pytest.approx((shortest, longest), abs=0.05)
        assert sum(durations) / len(durations) == pytest.approx(151.2, abs=0.05)
