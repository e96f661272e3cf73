import pytest

from museg.evaluation.highlight_annotations import read_qvhighlights
from museg.temporal.segments import Segment
from tests.evaluation.annotation_files import HIGHLIGHT, changed, lines_file, without

QUESTION = "Where is '{query}'?"


def test_a_line_becomes_a_sample(tmp_path):
    (sample,) = read_qvhighlights(lines_file(tmp_path, HIGHLIGHT), QUESTION)
    assert (sample.sample_id, sample.row, sample.task, sample.source) == ("8737", 0, "mr", "qvhighlights")
    assert sample.video == "bP5KfdFJzC4_660.0_810.0.mp4"
    assert sample.question == "Where is 'A family plays basketball.'?"
    assert sample.targets == (Segment(0.0, 4.0),) and sample.duration_s == 8.0
    assert sample.annotation == HIGHLIGHT


def test_highlights_may_be_absent(tmp_path):
    bare = without(without(HIGHLIGHT, "saliency_scores"), "relevant_clip_ids")
    (sample,) = read_qvhighlights(lines_file(tmp_path, bare), QUESTION)
    assert "saliency_scores" not in sample.annotation


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (HIGHLIGHT, "qid repeats that of line 1"),
        (changed(HIGHLIGHT, qid=True), "qid must be"),
        (without(HIGHLIGHT, "relevant_windows"), "lacks relevant_windows"),
        (changed(HIGHLIGHT, qid=1, relevant_windows=[]), "at least one"),
        (changed(HIGHLIGHT, qid=1, relevant_windows=[[0, float("nan")]]), "finite seconds"),
        (changed(HIGHLIGHT, qid=1, vid=5), "vid must be a text"),
        (changed(HIGHLIGHT, qid=1, vid="../x"), "below the video root"),
        (without(HIGHLIGHT, "saliency_scores"), "lacks saliency_scores"),
        (changed(HIGHLIGHT, qid=1, saliency_scores=[[4, 1, 1]]), "same length"),
        (changed(HIGHLIGHT, qid=1, saliency_scores=[[4, 1], [4, 1]]), "3 whole numbers from 0 to 4"),
        (changed(HIGHLIGHT, qid=1, saliency_scores=[[4, 1, 5], [4, 1, 1]]), "3 whole numbers from 0 to 4"),
        # a clip lasts 2 s, so 8 s hold the clips 0 to 3
        (changed(HIGHLIGHT, qid=1, relevant_clip_ids=[0, 4]), "must be below duration / 2 = 4, not 4"),
        (changed(HIGHLIGHT, qid=1, relevant_clip_ids=[0, -1]), "whole number from 0"),
    ],
)
def test_bad_line_is_named(tmp_path, row, rule):
    with pytest.raises(ValueError, match=rf"rows\.jsonl: 1 row\(s\)[\s\S]*line 2: .*{rule}"):
        read_qvhighlights(lines_file(tmp_path, HIGHLIGHT, row), QUESTION)
