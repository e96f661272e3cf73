"""What the terminal shows at 80 columns: every number whole, whatever the rule."""

import io

import pytest
from rich.console import Console

from museg.config.comparing import show_comparison
from museg.config.score_table import by_stem, show_completions, show_scores
from museg.evaluation.comparison import compare_runs
from museg.evaluation.finished import read_runs
from museg.evaluation.published import PublishedNumber
from museg.evaluation.rules import make_rule
from museg.evaluation.samples import Answer
from museg.evaluation.score import plain, score, write_scores
from tests.evaluation.test_score import ANSWERS, MOMENTS, SAMPLES


def console() -> Console:
    return Console(width=80, file=io.StringIO(), force_terminal=False)


def shown(printed: Console) -> str:
    text = printed.file.getvalue()
    assert "…" not in text and max(map(len, text.splitlines())) <= 80
    return text


@pytest.mark.parametrize(
    ("samples", "answers", "rule"),
    [
        (SAMPLES, ANSWERS, "released_by_task"),
        (SAMPLES, ANSWERS, "sentence_grounding"),
        (MOMENTS, {0: Answer("0-10"), 1: Answer("")}, "moment_retrieval"),
    ],
)
def test_every_score_is_readable(samples, answers, rule):
    report = plain(score(samples, answers, make_rule(rule)).report("mine", ["a note"]))
    printed = console()
    show_scores(report, printed)
    text = shown(printed)
    for metrics in report["scores"].values():
        for stem, cells in by_stem(metrics).items():
            (line,) = [line for line in text.splitlines() if line.split(",")[0].split()[:1] == [stem]] or [""]
            for value in cells.values():
                assert any(form in line for form in ("–", f"{value or 0:.4f}", f"{value or 0:.2f}")), (stem, text)
    assert "note: a note" in text and f"failed answers: {report['num_failed']}" in text


def test_percentages_say_so():
    printed = console()
    report = score(MOMENTS, {0: Answer("0-10"), 1: Answer("")}, make_rule("moment_retrieval")).report("mine")
    show_scores(plain(report), printed)
    assert "MR-full-mIoU, %" in shown(printed) and "mean_iou, %" not in shown(printed)


def test_two_runs_side_by_side(tmp_path):
    for name, answers in (("good", ANSWERS), ("a_much_longer_name_of_a_run", {row: Answer("") for row in ANSWERS})):
        (tmp_path / name).mkdir()
        write_scores(score(SAMPLES, answers, make_rule("released_by_task")), tmp_path / name, "mine")
    runs = read_runs([tmp_path / "good", tmp_path / "a_much_longer_name_of_a_run"])
    beside = [
        PublishedNumber("MUSEG-7B", "mine", "official", "mean_f1_multi", 0.31, "F1", "a table", "another setting")
    ]
    printed = console()
    show_comparison(compare_runs(runs, num_resamples=100), beside, printed)
    text = shown(printed)
    assert "mine: official mean_f1_multi" in text and "-0.500" in text
    assert "0.310" in text and "setting" in text


def test_completions():
    spread = {"mean": 0.5, "std": 0.1, "min": -0.4, "max": 1.0}
    printed = console()
    show_completions({"num_samples": 3, "num_not_text": 1, "total": spread, "terms": {"format": spread}}, printed)
    assert "-0.4000" in shown(printed) and "1 completions are no text" in shown(printed)
