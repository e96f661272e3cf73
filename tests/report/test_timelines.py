import json
import re
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.report.drawing import drawing_style
from museg.report.run_folder import read_run
from museg.report.timelines import (
    MAX_STACKED,
    axis_length_s,
    choose_timelines,
    draw_timelines,
    split_by_truth,
    stacked,
)
from museg.temporal.segments import Segment, intersection_s, merge, total_length_s

SEGMENTS = st.lists(st.tuples(st.integers(-5, 30), st.integers(-5, 30)).map(lambda ends: Segment(*map(float, ends))))


def test_split_by_hand():
    # 2-9 against 3-4 and 6-12: true inside 3-4 and 6-9; not true 2-3 and 4-6.
    inside, outside = split_by_truth([Segment(2.0, 9.0)], [Segment(3.0, 4.0), Segment(6.0, 12.0)])
    assert inside == [Segment(3.0, 4.0), Segment(6.0, 9.0)]
    assert outside == [Segment(2.0, 3.0), Segment(4.0, 6.0)]


@given(SEGMENTS, SEGMENTS)
def test_split_loses_and_invents_no_time(predicted, targets):
    truth = merge([s for s in targets if s.end_s > s.start_s])
    inside, outside = split_by_truth(predicted, truth)
    merged = merge([s for s in predicted if s.end_s > s.start_s])
    assert total_length_s(inside) == sum(intersection_s(a, b) for a in merged for b in truth)
    assert total_length_s(inside) + total_length_s(outside) == total_length_s(merged)
    assert all(intersection_s(a, b) == 0 for a in outside for b in truth)


def test_overlapping_segments_stand_above_each_other():
    a, b, c, d = Segment(2.0, 6.0), Segment(4.0, 9.0), Segment(7.0, 8.0), Segment(9.0, 11.0)
    # b overlaps a; c comes after a; d touches b, and comes after c
    assert stacked([c, d, b, a]) == [[a, c, d], [b]]
    assert stacked([Segment(1.0, 2.0), Segment(3.0, 4.0)]) == [[Segment(1.0, 2.0), Segment(3.0, 4.0)]]
    assert stacked([Segment(5.0, 5.0), Segment(9.0, 2.0)]) == []


@given(SEGMENTS)
def test_stacking_keeps_every_segment_that_holds_time(segments):
    strips = stacked(segments)
    assert len(strips) <= MAX_STACKED
    assert sorted(s for strip in strips for s in strip) == sorted(s for s in segments if s.end_s > s.start_s)
    if len(strips) < MAX_STACKED:
        assert all(first.end_s < second.start_s for strip in strips for first, second in pairwise(strip))


def bars_of(svg, colour):
    """Left, right, top and bottom of every bar of this colour."""
    paths = re.findall(rf'<path d="([^"]+)"[^>]*style="fill: var\(--{colour},', svg)
    corners = [[float(number) for number in re.findall(r"[\d.]+", path)] for path in paths]
    return [(min(c[0::2]), max(c[0::2]), min(c[1::2]), max(c[1::2])) for c in corners]


def test_no_bar_of_the_picture_hides_another(tmp_path):
    targets, answer = [[2, 6], [4, 9], [5, 7], [12, 14]], [[2, 6], [3, 11], [12, 14]]
    write_stage(tmp_path, "only", [0.5], targets=targets, segments=answer, duration_s=24)
    (tmp_path / "figures").mkdir()
    with drawing_style():
        [drawn] = draw_timelines(choose_timelines(read_run(tmp_path))[0], tmp_path / "figures")
    bars = {colour: bars_of(drawn.picture.svg, colour) for colour in ("ink", "orange", "blue")}
    # four true ones; 9-11 is wrong; 2-6, 3-9 and 12-14 are right
    assert {colour: len(found) for colour, found in bars.items()} == {"ink": 4, "orange": 1, "blue": 3}
    for one, other in combinations([bar for found in bars.values() for bar in found], 2):
        beside = one[1] <= other[0] + 0.01 or other[1] <= one[0] + 0.01
        assert beside or one[3] <= other[2] or other[3] <= one[2]


def write_stage(run_dir, stage, ious, mode="greedy", **more):
    (run_dir / "predictions").mkdir(exist_ok=True)
    with (run_dir / "predictions" / f"{stage}.jsonl").open("w", encoding="utf-8") as file:
        for place, iou in enumerate(ious):
            row = {"example_id": f"x:{place}", "mode": mode, "iou": iou, "targets": [[1, 2]], "segments": []} | more
            file.write(json.dumps(row) + "\n")


def test_the_choice_follows_its_rule(tmp_path):
    #          x:0  x:1  x:2  x:3  x:4  x:5  x:6  x:7  x:8  x:9
    write_stage(tmp_path, "cold_start", [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    write_stage(tmp_path, "later_end", [0.5, 0.9, 0.5, 0.1, 0.5, 0.8, 0.5, 0.5, 0.2, 0.6])
    chosen, mode = choose_timelines(read_run(tmp_path))
    assert mode == "greedy"
    # Left for the even spread: x:0 2 4 6 7 9, of which places 0, 2, 3 and 5 (5/3 and 10/3 rounded).
    assert [(t.example.example_id, t.why) for t in chosen] == [
        ("x:1", "most improved, IoU +0.40"),
        ("x:5", "most improved, IoU +0.30"),
        ("x:3", "most worsened, IoU −0.40"),
        ("x:8", "most worsened, IoU −0.30"),
        ("x:0", "evenly spread"),
        ("x:4", "evenly spread"),
        ("x:6", "evenly spread"),
        ("x:9", "evenly spread"),
    ]
    assert [stage for stage, _ in chosen[0].rows] == ["cold_start", "later_end"]


def test_one_stage_has_no_extremes(tmp_path):
    write_stage(tmp_path, "only", [0.1, 0.9, 0.5], mode="sampled")
    chosen, mode = choose_timelines(read_run(tmp_path))
    assert mode == "sampled"
    assert {timeline.why for timeline in chosen} == {"evenly spread"}


def test_no_predictions_no_timelines(tmp_path):
    assert choose_timelines(read_run(tmp_path)) == ([], "sampled")


@pytest.mark.parametrize(
    ("row", "length_s"),
    [
        ({"duration_s": 24.0, "segments": [[1, 1000]]}, 24.0),  # the clip ends, whatever the model says
        ({"duration_s": 24.0, "targets": [[20, 30]]}, 30.0),  # an annotation beyond the clip is shown
        ({"duration_s": None, "segments": [[3, 9]]}, 9.0),
        ({"duration_s": None, "segments": [[3, 1e14]]}, 86_400.0),
        ({"duration_s": -4, "targets": [], "segments": None}, 1.0),
    ],
)
def test_axis_length(tmp_path, row, length_s):
    write_stage(tmp_path, "only", [0.5], **row)
    [timeline] = choose_timelines(read_run(tmp_path))[0]
    assert axis_length_s(timeline) == length_s
