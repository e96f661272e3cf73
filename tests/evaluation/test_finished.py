import json
from pathlib import Path

import pytest

from museg.evaluation.comparison import compare_runs
from museg.evaluation.finished import distinct_names, read_runs
from museg.evaluation.rules import make_rule
from museg.evaluation.samples import Answer, BenchmarkSample
from museg.evaluation.score import score, write_scores
from museg.temporal.segments import Segment


def written(folder: Path, name: str = "mine", answer: str = "0-10", question: str = "When?") -> Path:
    sample = BenchmarkSample("a", 0, "tal", "made_up", "a.mp4", question, (Segment(0, 10),), 60.0)
    folder.mkdir(parents=True)
    write_scores(score([sample], {0: Answer(answer)}, make_rule("released_tal")), folder, name)
    return folder


def test_names_are_as_long_as_they_must_be():
    assert distinct_names([Path("/x/a"), Path("/x/b")]) == ["a", "b"]
    assert distinct_names([Path("/x/one/thumos14"), Path("/x/two/thumos14")]) == ["one/thumos14", "two/thumos14"]
    with pytest.raises(ValueError, match="the same folder more than once"):
        distinct_names([Path("/x/a"), Path("/x/b/../a")])


def test_a_run_is_one_evaluation_or_a_folder_of_several(tmp_path):
    written(tmp_path / "one")
    written(tmp_path / "many" / "first", "mine")
    written(tmp_path / "many" / "second", "other", answer="nothing")
    one, many = read_runs([tmp_path / "one", tmp_path / "many"])
    assert list(one.evaluations) == ["mine"] and list(many.evaluations) == ["mine", "other"]
    table = one.evaluations["mine"].tables["tal"]["official"]
    assert table.compute()["mean_f1_multi"] == 1.0
    assert many.evaluations["other"].tables["tal"]["official"].compute()["mean_f1_multi"] == 0.0


def test_equal_ids_of_other_questions_are_not_paired(tmp_path):
    runs = read_runs([written(tmp_path / "one"), written(tmp_path / "two", question="Where?")])
    with pytest.raises(ValueError, match="other questions, videos or truths"):
        compare_runs(runs, num_resamples=10)
    same = read_runs([tmp_path / "one", written(tmp_path / "three", answer="nothing")])
    assert compare_runs(same, num_resamples=10).metrics


def test_two_evaluations_of_one_benchmark_are_ambiguous(tmp_path):
    written(tmp_path / "many" / "first")
    written(tmp_path / "many" / "second")
    with pytest.raises(ValueError, match="holds two evaluations of mine"):
        read_runs([tmp_path / "many", written(tmp_path / "one")])


def test_what_is_no_finished_evaluation_is_told(tmp_path):
    good, bad = written(tmp_path / "good"), written(tmp_path / "bad")
    (bad / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"metrics\.json cannot be read"):
        read_runs([good, bad])
    (bad / "metrics.json").write_text(json.dumps({"benchmark": "mine"}))
    with pytest.raises(ValueError, match="is no evaluation of this program"):
        read_runs([good, bad])
    (bad / "metrics.json").write_bytes((good / "metrics.json").read_bytes())
    (bad / "samples.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(ValueError, match=r"samples\.jsonl.*\n.*line 1"):
        read_runs([good, bad])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no finished evaluation"):
        read_runs([good, tmp_path / "empty"])
