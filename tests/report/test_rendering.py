from museg.report.rendering import emptied_figures


def test_a_page_takes_away_its_own_pictures_alone(tmp_path):
    (tmp_path / "figures").mkdir()
    for name in ("curve_loss.png", "sweep_scores.png", "mine.png"):
        (tmp_path / "figures" / name).write_bytes(b"")
    figures = emptied_figures(tmp_path, "curve_*.png", "timeline_*.png")
    assert {file.name for file in figures.iterdir()} == {"sweep_scores.png", "mine.png"}
