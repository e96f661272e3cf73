"""The released evaluation files are read completely, and what they hold is what was counted in them.

E.T. Bench's own file cannot be had here: its recorded samples stand for it, and the released subset for its index.
"""

import json
from collections import Counter
from itertools import chain, pairwise

import pytest

from museg.evaluation.benchmarks import Benchmark, read_benchmark
from museg.evaluation.et_bench_annotations import read_et_bench, read_et_bench_subset
from museg.evaluation.saved_answers import read_answers
from tests.config.benchmark_options import settings_of
from tests.shared import ANNOTATIONS, ORACLES, require

COUNTS = {
    # samples, with one segment, most segments, not sorted by start, videos, questions
    "charades_sta": (3720, 3720, 1, 0, 1334, 2860),
    "thumos14": (227, 26, 128, 30, 200, 20),
    "thumos15": (474, 46, 218, 0, 412, 20),
}

SUBSET = {
    "vhd": {"youtube_highlights": 26, "qvhighlights": 25},
    "dvc": {"youcook2": 29, "hirest": 12},
    "tem": {"qvhighlights": 32, "perception_test": 32},
    "eca": {"charades_sta": 22},
    "tvg": {"charades_sta": 32, "qvhighlights": 28},
    "gvq": {"qa_ego4d": 24},
    "epm": {"ego4d_nlq": 28},
    "rvq": {"star": 26},
    "slc": {"ht_step": 18, "cross_task": 24},
    "tal": {"thumos14": 28, "thumos15": 30, "perception_test": 28},
    "rar": {"perception_test": 18},
    "evs": {"tvsum": 8},
}


def released(name: str, tmp_path) -> Benchmark:
    """The benchmark as its option describes it, its file where `prepare` puts it."""
    (tmp_path / "annotations").symlink_to(require(ANNOTATIONS / "eval"))
    return read_benchmark(settings_of(name), tmp_path)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_the_released_files(name, tmp_path):
    samples = released(name, tmp_path).samples
    starts = [[segment.start_s for segment in sample.targets] for sample in samples]
    assert COUNTS[name] == (
        len(samples),
        sum(len(sample.targets) == 1 for sample in samples),
        max(len(sample.targets) for sample in samples),
        sum(any(second < first for first, second in pairwise(times)) for times in starts),
        len({sample.video for sample in samples}),
        len({sample.question for sample in samples}),
    )
    assert {sample.task for sample in samples} == {"tvg" if name == "charades_sta" else "tal"}
    assert all(segment.start_s < segment.end_s for sample in samples for segment in sample.targets)


@pytest.mark.parametrize("name", COUNTS)
def test_output_of_the_released_script_is_taken_row_by_row(name, tmp_path):
    benchmark = released(name, tmp_path)
    entries = json.loads(benchmark.file.read_text("utf-8"))
    output = [{**entry, "result": {"output": f"{row} - {row + 1}"}} for row, entry in enumerate(entries)]
    path = tmp_path / "output.json"
    path.write_text(json.dumps([*output, {"tot": len(entries)}]), encoding="utf-8")
    answers = read_answers(path, benchmark.samples, benchmark.settings.rule).answers
    assert [answer.text for answer in answers.values()] == [f"{row} - {row + 1}" for row in range(len(entries))]


def recorded_samples() -> list[dict]:
    tasks = json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))["museg_etbench"]
    return [case["sample"] for task in tasks.values() for case in task["cases"]]


def test_recorded_samples_of_et_bench(tmp_path):
    path = tmp_path / "et_bench.json"
    path.write_text(json.dumps(recorded_samples()), encoding="utf-8")
    samples = read_et_bench(path)
    assert len(samples) == 12 * 200 and Counter(sample.task for sample in samples) == dict.fromkeys(SUBSET, 200)
    # the answers recorded with them are output of the released script, in any order
    answers = read_answers(path, samples[::-1], "et_bench").answers
    assert [answers[row].text for row in range(2400)] == [row["a"] for row in recorded_samples()]


def test_released_subset(tmp_path):
    subset = require(ANNOTATIONS / "eval" / "et_bench_subset.json")
    template = {(row["task"], row["source"]): row for row in recorded_samples()}
    numbers = json.loads(subset.read_text("utf-8"))
    # every index it names, and as many again that it does not
    rows = chain.from_iterable(
        [{**template[task, source], "idx": idx}, {**template[task, source], "idx": idx + 10_000}]
        for task, sources in numbers.items()
        for source, indices in sources.items()
        for idx in indices
    )
    path = tmp_path / "et_bench.json"
    path.write_text(json.dumps(list(rows)), encoding="utf-8")
    samples, others = read_et_bench_subset(path, subset)
    found = Counter((sample.task, sample.source) for sample in samples)
    assert found == {(task, source): num for task, sources in SUBSET.items() for source, num in sources.items()}
    # each is followed by one that is not named
    assert [sample.row for sample in samples] == list(range(0, 940, 2))
    assert [sample.row for sample in others] == list(range(1, 940, 2))
