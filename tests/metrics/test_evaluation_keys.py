"""Every metric an evaluation reports says what it is."""

import pytest

from museg.metrics.et_bench_summary import MEANS, MERGED, TASK_SCORES
from museg.metrics.evaluation_keys import describe
from tests.metrics.every_table import KINDS, scored_alone

CAPTION_NAMES = ("Bleu_1", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr", "SentSim", "SentSim_all_samples")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"plain"}))
def test_reported_names_are_described(kind):
    for name in scored_alone(kind):
        key = describe(name, kind.split()[-1])
        assert key.meaning != name
        assert "{" not in key.label + key.meaning
        if "@0." in name:
            assert name.rpartition("@")[2].removesuffix("_all_samples") in key.meaning


@pytest.mark.parametrize("name", [*CAPTION_NAMES, *TASK_SCORES, *MERGED, *MEANS])
def test_names_above_tables_are_described(name):
    assert describe(name).meaning != name


def test_a_range_and_a_level_are_spelled_out():
    assert describe("MR-short-R1@0.5").meaning.endswith("at IoU 0.5; true windows of up to 10 s")
    assert describe("HL-min-VeryGood-Hit1").meaning.endswith("marked 4 or more (of 4)")
    assert describe("no_fallback_MR-full-mAP").label == "mAP (full) (no fallback)"
    assert describe("MR-full-mAP").unit == "%"


def test_f1_depends_on_the_task():
    meanings = {describe("F1", task).meaning for task in ("tvg", "tal", "evs", "vhd", "dvc")}
    assert len(meanings) == 5
    assert describe("F1@0.5", "tal").meaning.endswith("(IoU 0.5)")
    assert describe("F1_all_samples", "evs").meaning.endswith("an unreadable answer is 0")
    assert describe("Acc", "tvg") == describe("Acc")


def test_an_unknown_name_describes_itself():
    assert describe("F2") == ("F2", "", "F2")
