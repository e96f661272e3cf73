import time

import pytest

from museg.metrics.percentages import percent
from museg.metrics.window_scores import saliency_of, windows_of
from museg.temporal.segments import Segment


def test_scores_fall_in_the_order_written():
    assert windows_of([Segment(5, 6), Segment(0, 1)], 30) == ((5, 6, 1.0), (0, 1, 0.5))


@pytest.mark.parametrize("segments", [None, (), []])
def test_no_segment_is_the_whole_video(segments):
    assert windows_of(segments, 30) == ((0.0, 30.0, 1.0),)


def test_saliency_of_the_best_window_over_a_clip():
    # clips [0,2] [2,4] [4,6] [6,8] of 9 s have middles 1, 3, 5, 7; [2.5, 5] covers 3 and 5, [0, 3] covers 1 and 3
    assert saliency_of([(0, 3, 0.5), (2.5, 5, 1.0)], 9) == (0.5, 1.0, 1.0, 0.0)
    assert saliency_of([], 4) == (0.0, 0.0)
    assert saliency_of(windows_of(None, 4), 4) == (1.0, 1.0)


def test_a_million_windows():
    windows = windows_of([Segment(0, 2)] * 1_000_000, 150)
    start_s = time.perf_counter()
    assert saliency_of(windows, 150)[:2] == (1.0, 0.0)
    assert time.perf_counter() - start_s < 15


def test_percentages_round_the_exact_value():
    assert percent(0.125) == 12.5
    assert percent(1 / 3) == 33.33
    # 100 * 0.43905 is 43.90500000000000113...: up, where scaling it by 100 again would round half to even, down
    assert percent([0.43905, 0.5]).tolist() == [43.91, 50.0]
