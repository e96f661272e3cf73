import math

import pytest

from museg.metrics.highlights import CorrectedHighlightTable, HighlightTable, annotated_marks

ROW = {"duration": 8.9, "relevant_clip_ids": [1, 2], "saliency_scores": [[4, 2, 0], [3, 3, 1]]}  # 4 whole clips


def scores_of(saliency, row=ROW, table=HighlightTable):
    metric = table()
    metric.update(0, saliency, row)
    return metric.compute()


def test_marks_of_all_clips():
    assert annotated_marks(ROW).tolist() == [[0, 0, 0], [4, 2, 0], [3, 3, 1], [0, 0, 0]]


def test_hit_and_average_precision():
    # highest: clip 2, then 0, 1, 3
    found = scores_of([0.5, 0.4, 0.9, 0.1])
    # VeryGood: only annotator 0, clip 1, found third: (1/3 + 0 + 0) / 3
    assert found["HL-min-VeryGood-mAP"] == pytest.approx(11.11)
    assert found["HL-min-VeryGood-Hit1"] == 0.0
    # Good: annotator 0 has clips 1, 2: (1 + 2/3) / 2; annotator 1 has clip 2: 1; annotator 2 none: 0
    assert found["HL-min-Good-mAP"] == pytest.approx(61.11)
    assert found["HL-min-Good-Hit1"] == 100.0
    # Fair: annotators 0 and 1 have clips 1, 2; annotator 2 none: (5/6 + 5/6 + 0) / 3
    assert found["HL-min-Fair-mAP"] == pytest.approx(55.56)


def test_scores_are_fitted_to_the_clips():
    # missing clips count 0, below every given score: clip 1 first
    assert scores_of([0.1, 0.9])["HL-min-VeryGood-mAP"] == pytest.approx(33.33)
    # the highest of five lies beyond the four clips: a miss, although the ranking of the four is perfect
    found = scores_of([0.0, 0.8, 0.7, 0.0, 1.0])
    assert (found["HL-min-Good-Hit1"], found["HL-min-VeryGood-mAP"]) == (0.0, pytest.approx(33.33))


@pytest.mark.parametrize("saliency", [[], [math.nan] * 4, [0.1, math.inf, 0.2, 0.3]])
def test_what_stops_the_published_script_scores_zero(saliency):
    assert set(scores_of(saliency).values()) == {0.0}
    assert set(scores_of(saliency, table=CorrectedHighlightTable).values()) == {0.0}


def test_corrected_names():
    assert "no_fallback_HL-min-VeryGood-Hit1" in scores_of([0.1, 0.9], table=CorrectedHighlightTable)


def test_nothing_annotated():
    row = {"duration": 8, "relevant_clip_ids": [], "saliency_scores": []}
    assert set(scores_of([0.1] * 4, row).values()) == {0.0}


def test_clips_beyond_the_video_are_refused():
    with pytest.raises(ValueError, match=r"0\.\.3 .* got 4\.\.4"):
        annotated_marks({"duration": 8, "relevant_clip_ids": [4], "saliency_scores": [[1, 1, 1]]})
