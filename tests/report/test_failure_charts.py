import pytest

from museg.report.drawing import drawing_style
from museg.report.failure_charts import draw_failures, draw_rewards

FAILURES = {
    "kinds": {"missing": 3, "unreadable": 1, "none": 0},
    "counts": {"exact": 6, "too_few": 2},
    "boundary_error_s": {
        "start": {"median": 1.25, "p90": 6.0},
        "end": None,
        "histogram": {"edges_s": [0.0, 0.5, 60.0], "counts": [3, 1, 0]},
    },
    "iou_by": {"position": [{"label": "0-50 %", "num": 12_345, "mean_iou": 0.5}, {"label": "50-100 %", "num": 0}]},
}


def words(tmp_path, failures):
    """The texts of each picture, by its name."""
    with drawing_style():
        pictures = draw_failures({"num_samples": 8, "failures": failures}, tmp_path)
    return {picture.name: picture.svg for picture in pictures}


def test_every_number_is_written_at_its_bar(tmp_path):
    drawn = words(tmp_path, FAILURES)
    assert set(drawn) == {"failure_kinds", "failure_counts", "failure_boundaries", "failure_iou_by_position"}
    # 3 of 8 answers are 37.5 %; 6 of the 8 with true segments are 75 %; 3 of 4 boundaries are 75 %.
    for name, texts in {
        "failure_kinds": ["missing", "3 (37.5 %)", "unreadable", "1 (12.5 %)"],
        "failure_counts": ["exact", "6 (75.0 %)", "too few", "2 (25.0 %)", "too many", "0 (0.0 %)"],
        "failure_boundaries": ["0–0.5 s", "75 %", "60+ s", "start: median 1.2 s, nine of ten within 6.0 s"],
        "failure_iou_by_position": ["0-50 %", "0.50", "n=12k"],
    }.items():
        for text in texts:
            assert f">{text}<" in drawn[name], (name, text)
    assert "none" not in drawn["failure_kinds"].replace('"none"', "").replace(": none", "")
    assert "50-100" not in drawn["failure_iou_by_position"]  # nothing was measured there


def test_nothing_to_draw(tmp_path):
    assert words(tmp_path, {"kinds": {}, "counts": {}, "boundary_error_s": {"histogram": None}, "iou_by": {}}) == {}
    assert words(tmp_path, None) == {}
    assert draw_rewards([], tmp_path) == []


@pytest.mark.parametrize("totals", [[1.0], [0.5] * 100, [-3.0, 1e15]])
def test_rewards_of_any_spread(tmp_path, totals):
    with drawing_style():
        (picture,) = draw_rewards(totals, tmp_path)
    assert picture.png.read_bytes().startswith(b"\x89PNG")
