import math

import pytest

from museg.data.event_windows import PAIRED_TARGET_TASKS, event_segments


@pytest.mark.parametrize("task", PAIRED_TARGET_TASKS)
def test_targets_are_starts_and_ends_in_turn(task):
    assert event_segments(task, [1, 2.5, 7, 9], None, 20.0) == ((1.0, 2.5), (7.0, 9.0))


def test_rvc_takes_the_input_timestamps():
    assert event_segments("rvc", None, [3.0, 8.0], 20.0) == ((3.0, 8.0),)


def test_a_highlight_lasts_two_seconds():
    assert event_segments("vhd", [4.0, 9.5], None, 20.0) == ((4.0, 6.0), (9.5, 11.5))


def test_tvc_lasts_to_the_next_time_and_the_last_almost_to_the_end():
    assert event_segments("tvc", [0.0, 4.0, 9.0], None, 20.0) == ((0.0, 4.0), (4.0, 9.0), (9.0, 19.0))
    # 19.5 + 1 is later than 20 - 1
    assert event_segments("tvc", [0.0, 19.5], None, 20.0) == ((0.0, 19.5), (19.5, 20.5))
    assert event_segments("tvc", [2.0], None, 20.0) == ((2.0, 19.0),)


def test_only_tvc_needs_the_length():
    assert event_segments("tvg", [1.0, 2.0], None, None) == ((1.0, 2.0),)
    for duration_s in (None, math.nan):
        with pytest.raises(ValueError, match="length in seconds"):
            event_segments("tvc", [1.0, 2.0], None, duration_s)


def test_what_has_no_rule_is_refused():
    with pytest.raises(ValueError, match="no rule finds the events of task 'rar'; give its windows"):
        event_segments("rar", [1.0, 2.0], None, 20.0)


@pytest.mark.parametrize("tgt", [None, [], "12", [[1.0, 2.0]], [1.0, None], [True, 2.0], 3.0])
def test_what_is_no_flat_list_of_numbers_is_refused(tgt):
    with pytest.raises(ValueError, match="tgt of a tvg sample must be a flat list of seconds"):
        event_segments("tvg", tgt, None, 20.0)


def test_odd_and_infinite_numbers_are_refused():
    with pytest.raises(ValueError, match="starts and ends in turn, got 3 numbers"):
        event_segments("tal", [1.0, 2.0, 3.0], None, 20.0)
    with pytest.raises(ValueError, match="finite seconds"):
        event_segments("vhd", [math.inf], None, 20.0)
    with pytest.raises(ValueError, match="src of a rvc sample"):
        event_segments("rvc", [1.0, 2.0], None, 20.0)
