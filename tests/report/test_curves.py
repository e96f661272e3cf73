from museg.report.curves import draw_cold_start, draw_curves
from museg.report.drawing import drawing_style
from museg.report.run_folder import read_run


def test_phases_are_named_and_held_out_dots_have_a_legend(finished_run, tmp_path):
    with drawing_style():
        drawn = draw_curves(read_run(finished_run), tmp_path)
    first = drawn.main[0]
    assert first.title == "Mean IoU"
    for word in ("timestamp", "plain", "training step", "mean IoU (greedy)", "mean IoU (sampled)"):
        assert f">{word}</text>" in first.svg
    assert {picture.png for picture in (*drawn.main, *drawn.other)} == set(tmp_path.iterdir())


def test_keys_without_a_rule_come_last(finished_run, tmp_path):
    with drawing_style():
        drawn = draw_curves(read_run(finished_run), tmp_path)
    assert [picture.title for picture in drawn.other] == ["train", "loss", "data"]


def test_the_cold_start_is_drawn_with_target_and_end(finished_run, tmp_path):
    with drawing_style():
        picture = draw_cold_start(read_run(finished_run), tmp_path)
    assert "target 0.6" in picture.svg
    assert "stopped at 450" in picture.svg
    assert picture.png.stat().st_size > 5000


def test_no_cold_start_no_picture(tmp_path):
    with drawing_style():
        assert draw_cold_start(read_run(tmp_path), tmp_path) is None
