"""Every metric an evaluation reports says what it is."""

import pytest

from museg.metrics.evaluation_keys import describe
from museg.metrics.field_grounding import FieldGroundingTable
from museg.metrics.highlights import CorrectedHighlightTable, HighlightTable
from museg.metrics.moment_retrieval import CorrectedMomentRetrievalTable, MomentRetrievalTable

WINDOW_TABLES = [MomentRetrievalTable, CorrectedMomentRetrievalTable]
SALIENCY_TABLES = [HighlightTable, CorrectedHighlightTable]


@pytest.mark.parametrize("table", [*WINDOW_TABLES, *SALIENCY_TABLES, FieldGroundingTable])
def test_reported_names_are_described(table):
    metric = table()
    zeros = dict.fromkeys(metric.columns, 0.0)
    for name in metric.summarise(zeros):
        key = describe(name)
        assert key.meaning != name
        assert "{" not in key.label + key.meaning
        if "@0." in name:
            assert name.rpartition("@")[2] in key.meaning


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


PUBLISHED_NAMES = [
    "Total",
    "Failed",
    "mIoU",
    "R@0.3",
    "mRec",
    "F1@0.7",
    "F1",
    "Acc",
    "Bleu_4",
    "METEOR",
    "ROUGE_L",
    "CIDEr",
    "SentSim",
    "m_iou",
    "f1_single_0.1",
    "f1_multi_0.7",
    "mean_f1_single",
    "mean_f1_multi",
    "exact_mIoU",
    "one_to_one_F1@0.3",
    "Acc_letter_decides",
]
SUMMARY_NAMES = ("Acc (ref)", "F1 (gnd)", "F1 (cap)", "Sim (cap)", "Rec (com)", "Mean F1", "TEM Mean Rec")


@pytest.mark.parametrize("name", [*PUBLISHED_NAMES, *SUMMARY_NAMES])
def test_published_names_are_described(name):
    assert describe(name).meaning != name


def test_an_unknown_name_describes_itself():
    assert describe("F2") == ("F2", "", "F2")
