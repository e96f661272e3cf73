import json
import math

import pytest

from museg.evaluation.rules import make_rule
from museg.evaluation.samples import Answer, BenchmarkSample
from museg.evaluation.score import plain, score, tables_from_samples, write_scores
from museg.temporal.segments import Segment


def sample(row, *targets, task="tal", **more) -> BenchmarkSample:
    segments = tuple(Segment(*target) for target in targets)
    return BenchmarkSample(f"s{row}", row, task, "made_up", f"{row}.mp4", f"Question {row}?", segments, 60.0, **more)


SAMPLES = [sample(0, (0, 10), (20, 30)), sample(1, (5, 15), task="tvg"), sample(2, (0, 10))]
ANSWERS = {0: Answer("0-10 20-30"), 1: Answer("5 to 15 seconds, or 20 to 30"), 2: Answer("", fault="no_answer_block")}


def scored(rule="released_by_task"):
    return score(SAMPLES, ANSWERS, make_rule(rule))


def test_every_sample_counts_by_its_task():
    report = scored().report("mine")
    # tal: samples 0 (right) and 2 (nothing); tvg: sample 1, whose first segment is right
    assert report["scores"]["official"]["mean_f1_multi"] == 0.5
    assert report["scores"]["official"]["m_iou"] == 1.0
    # set IoU: 1, 10 of 20 covered seconds, 0
    assert report["scores"]["field"]["mean_iou"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert (report["num_samples"], report["num_failed"]) == (3, 1)
    assert {group: found["num_samples"] for group, found in report["groups"].items()} == {"tal": 2, "tvg": 1, "all": 3}
    assert report["failures"]["kinds"] == {"no_answer_block": 1}


def test_one_task_for_all_where_the_script_is_told_so():
    official = scored("released_tal").report("mine")["scores"]["official"]
    # sample 1: recall 1, precision 1/2, F1 2/3
    assert official["f1_multi_0.5"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_files_say_the_same_twice_and_read_back(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_scores(scored(), tmp_path / folder, "mine", ["a note"])
    for name in ("metrics.json", "samples.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "a" / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [(line["id"], line["failure"], line["iou"]) for line in lines] == [
        ("s0", None, 1.0),
        ("s1", None, 0.5),
        ("s2", "no_answer_block", 0.0),
    ]
    rule = make_rule("released_by_task")
    tables = tables_from_samples(lines, rule)
    groups = {group: {name: table.compute() for name, table in tables[group].items()} for group in tables}
    report = json.loads((tmp_path / "a" / "metrics.json").read_text("utf-8"))
    assert plain(rule.overall(groups)) == report["scores"]
    assert report["notes"] == ["a note"]


def test_lines_of_another_version_are_refused(tmp_path):
    write_scores(scored(), tmp_path, "mine")
    line = json.loads((tmp_path / "samples.jsonl").read_text("utf-8").splitlines()[0])
    del line["values"]["field"]["mean_iou"]
    with pytest.raises(ValueError, match=r"'s0' lacks \['mean_iou'\].*score it again"):
        tables_from_samples([line], make_rule("released_by_task"))


def test_a_spoiled_mean_is_null_and_its_sample_says_inf(tmp_path):
    # equal ranges without length have no IoU (0/0), which makes the mean of the published script NaN but is no hit
    samples = [sample(row, (5, 5), task="tvg", annotation={"tgt": [5, 5]}) for row in (0, 1)]
    rule = make_rule("et_bench", captions=False)
    report = write_scores(score(samples, {0: Answer("5 - 5"), 1: Answer("1 - 9")}, rule), tmp_path, "mine")
    official = report["groups"]["tvg/made_up"]["official"]
    assert (official["mIoU"], official["F1"]) == (None, 0.0)
    lines = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [line["values"]["official"]["iou"] for line in lines] == ["inf", 0.0]
    restored = tables_from_samples(lines, rule)["tvg/made_up"]["official"].compute()
    assert math.isnan(restored["mIoU"]) and restored["F1"] == 0.0
    assert plain({"a": math.inf, "b": math.nan, "c": [1.0]}) == {"a": "inf", "b": None, "c": [1.0]}


def test_long_answers_are_cut_in_the_file_only(tmp_path):
    text = " ".join(f"{i}-{i + 0.5}" for i in range(5_000))
    found = score([SAMPLES[0]], {0: Answer(text)}, make_rule("released_tal"))
    write_scores(found, tmp_path, "mine")
    line = json.loads((tmp_path / "samples.jsonl").read_text("utf-8"))
    assert (len(line["answer"]), len(line["segments"]), line["num_segments"]) == (2_000, 1_000, 5_000)


def test_surrogates_and_control_characters_can_be_written(tmp_path):
    write_scores(score([SAMPLES[0]], {0: Answer("\ud800 \x00 5-7")}, make_rule("released_tal")), tmp_path, "mine")
    json.loads((tmp_path / "samples.jsonl").read_text("utf-8"))


def test_unknown_rules_are_refused():
    with pytest.raises(ValueError, match="no scoring rule 'x'; choose one of released_tvg"):
        make_rule("x")


MOMENTS = [
    sample(
        0,
        (0, 10),
        task="mr",
        annotation={"duration": 60, "relevant_clip_ids": [0, 1], "saliency_scores": [[4, 4, 4], [2, 2, 2]]},
    ),
    sample(1, (20, 30), task="mr", annotation={"duration": 60}),
]


def test_moments_and_highlights():
    answers = {0: Answer("0-10"), 1: Answer("")}
    report = score(MOMENTS, answers, make_rule("moment_retrieval")).report("qvh")
    official, corrected = report["scores"]["official"], report["scores"]["corrected"]
    # the second answer has no window: the whole video stands in, with IoU 10/60; without stand-in it is 0
    assert official["MR-full-mIoU"] == pytest.approx(100 * (1 + 1 / 6) / 2, abs=0.01)
    assert corrected["no_fallback_MR-full-mIoU"] == 50.0
    # the only sample with highlights: its best clips are covered by the answer
    assert official["HL-min-VeryGood-Hit1"] == 100.0
    assert report["groups"]["highlights"]["num_samples"] == 1


def test_a_submission_brings_its_own_windows_and_saliency():
    answers = {0: Answer("", windows=((0.0, 10.0, 0.4), (30.0, 40.0, 0.9)), saliency=(0.0, 1.0)), 1: Answer("20-30")}
    found = score(MOMENTS, answers, make_rule("moment_retrieval"))
    assert found.readings[0].segments == (Segment(0.0, 10.0), Segment(30.0, 40.0))
    assert found.report("qvh")["scores"]["official"]["HL-min-VeryGood-Hit1"] == 0.0  # the highest clip is the second


@pytest.mark.parametrize(
    "answer",
    [
        Answer("", fault="missing"),
        Answer("", fault="not_windows"),
        Answer("", windows=()),  # where the published script stops
    ],
    ids=["missing", "not windows", "no window"],
)
def test_nothing_stands_in_for_an_answer_that_is_not_there(answer):
    report = score([MOMENTS[0]], {0: answer}, make_rule("moment_retrieval")).report("qvh")
    assert report["num_failed"] == 1
    assert report["scores"]["official"]["MR-full-mIoU"] == 0.0
    assert report["scores"]["official"]["HL-min-Fair-mAP"] == 0.0
