import json

import pytest

from museg.evaluation.comparison import compare_runs
from museg.evaluation.et_bench_annotations import read_et_bench
from museg.evaluation.finished import read_runs
from museg.evaluation.rules import make_rule
from museg.evaluation.samples import Answer
from museg.evaluation.score import score, write_scores
from museg.metrics.et_bench_summary import MERGED
from tests.evaluation.annotation_files import ET_BENCH, list_file

RIGHT = {
    "rar": "(C)",
    "eca": "(A)",
    "rvq": "(E)",
    "tvg": "3 - 9.5",
    "epm": "0 - 2",
    "tal": "1 - 2, 5 - 8",
    "evs": "1 - 2",
    "vhd": "1.5",
    "dvc": "1 - 2, stir now. 5 - 8, pour now.",
    "slc": "1 - 2, stir now.",
    "tem": "5 - 8",
    "gvq": "C. 1 - 5",
}
"""An answer to each of the small rows that its task's rule takes for right."""


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Two rows for every task."""
    rows = [{**row, "idx": idx, "video": f"{task}{idx}.mp4"} for task, row in ET_BENCH.items() for idx in (0, 1)]
    return read_et_bench(list_file(tmp_path_factory.mktemp("rows"), *rows))


def answered(samples, wrong=()):
    rule = make_rule("et_bench", captions=False)
    texts = {sample.row: "" if sample.sample_id in wrong else RIGHT[sample.task] for sample in samples}
    return score(samples, {row: Answer(text) for row, text in texts.items()}, rule)


def test_right_answers_earn_everything(samples):
    scores = answered(samples).report("small")["scores"]["official"]
    assert {name: scores[name] for name in MERGED if name in scores} == {
        "Acc (ref)": 100.0,
        "F1 (gnd)": 100.0,
        "F1 (cap)": 100.0,
        "Rec (com)": 100.0,
    }
    assert scores["TVG (F1)"] == 1.0


def test_scores_that_are_not_there_are_told(samples):
    (note,) = answered(samples).report("small")["notes"]
    assert note.startswith("Sim (cap): not reported")
    without_tem = [sample for sample in samples if sample.task != "tem"]
    (note,) = answered(without_tem).report("small")["notes"]
    assert note.startswith("Sim (cap), Rec (com): not reported")


def test_a_wrong_answer_costs_its_task_and_group(samples):
    found = answered(samples, wrong={"tvg/qvhighlights/1"}).report("small")
    # half of tvg, one of the five grounding tasks
    assert found["scores"]["official"]["TVG (F1)"] == 0.5
    assert found["scores"]["official"]["F1 (gnd)"] == pytest.approx(90.0)
    assert found["groups"]["tvg/qvhighlights"]["official"]["Failed"] == 1
    assert found["failures"]["kinds"] == {"unreadable": 1}


def test_what_stops_the_published_script_is_counted_by_the_tables(samples):
    texts = {sample.row: Answer(RIGHT[sample.task]) for sample in samples}
    gvq = next(sample for sample in samples if sample.task == "gvq")
    tvg = next(sample for sample in samples if sample.task == "tvg")
    # of a wrong option the script never reads the range, so the unreadable number in it stops nothing
    texts |= {gvq.row: Answer("A. 1..5 - 7"), tvg.row: Answer("1..5 - 7")}
    found = score(samples, texts, make_rule("et_bench", captions=False))
    assert found.readings[tvg.row].failure == "official_raises"
    assert found.readings[gvq.row].failure == "unreadable"


def test_two_evaluations_are_compared_task_by_task(samples, tmp_path):
    for name, wrong in (("good", ()), ("worse", {"tal/thumos14/0", "rar/perception_test/1"})):
        (tmp_path / name).mkdir()
        write_scores(answered(samples, wrong), tmp_path / name, "et_bench")
    compared = compare_runs(read_runs([tmp_path / "good", tmp_path / "worse"]), num_resamples=50)
    found = {(metric.group, metric.section, metric.name): metric for metric in compared.metrics}
    overall = found["", "official", "F1 (gnd)"]
    report = json.loads((tmp_path / "worse" / "metrics.json").read_text("utf-8"))
    assert overall.estimates[1].value == pytest.approx(report["scores"]["official"]["F1 (gnd)"])
    assert found["tal/thumos14", "official", "F1"].differences[0].value == -0.5
    assert ("rar/perception_test", "official", "Total") not in found  # the number of samples is no score
