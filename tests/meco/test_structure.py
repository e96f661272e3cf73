import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.meco.structure import (
    Kind,
    Span,
    StructuralToken,
    clean_window,
    event_captions,
    read_structure,
    span_targets,
    words_of,
    write_structure,
)
from museg.temporal.segments import Segment, intersection_s, length_s
from tests.temporal.drawn_segments import disjoint_lists, segment_lists, segments

EVENT, TRANSITION = Kind.EVENT, Kind.TRANSITION
DURATION_S = 60.0


def captions_for(events: list[Segment]) -> list[str]:
    return [f"caption {index}" for index in range(len(events))]


def written(*events: tuple[float, float], duration_s: float = 10.0):
    """Text and windows of events that are called a, b, c ... in the order given."""
    structure = write_structure("abc"[: len(events)], [Segment(*event) for event in events], duration_s)
    return structure.text, [tuple(span.segment) for span in structure.spans]


# ---- writing


def test_two_events_in_a_longer_video():
    text, windows = written((2.0, 4.0), (7.0, 8.0), duration_s=20.0)
    assert text == "<tst>\na<ent>\n<tst>\nb<ent>\n<tst>"
    assert windows == [(0, 2), (2, 4), (4, 7), (7, 8), (8, 20)]


def test_head_gap_is_one_second():
    assert written((0.9, 9.0)) == ("a<ent>", [(0.9, 9.0)])
    assert written((1.0, 9.0)) == ("<tst>\na<ent>", [(0.0, 1.0), (1.0, 9.0)])


def test_gap_between_events_is_two_seconds():
    assert written((0.0, 4.1), (6.0, 9.0)) == ("a<ent>\nb<ent>", [(0.0, 4.1), (6.0, 9.0)])
    assert written((0.0, 4.0), (6.0, 9.0)) == ("a<ent>\n<tst>\nb<ent>", [(0.0, 4.0), (4.0, 6.0), (6.0, 9.0)])


def test_a_gap_that_floats_make_shorter_counts_as_written():
    assert 4.1 - 2.1 < 2.0
    assert written((0.0, 2.1), (4.1, 9.0))[0] == "a<ent>\n<tst>\nb<ent>"


def test_gap_before_the_end_is_two_seconds():
    assert written((0.0, 8.1)) == ("a<ent>", [(0.0, 8.1)])
    assert written((0.0, 8.0)) == ("a<ent>\n<tst>", [(0.0, 8.0), (8.0, 10.0)])
    assert written((0.0, 12.0)) == ("a<ent>", [(0.0, 12.0)])  # annotated beyond the end


def test_gaps_are_arguments():
    structure = write_structure("ab", [Segment(1, 4), Segment(5, 9)], 10.0, head_gap_s=1.5, gap_s=1.0)
    assert structure.text == "a<ent>\n<tst>\nb<ent>\n<tst>"


def test_without_events_the_video_is_one_transition():
    assert written() == ("<tst>", [(0.0, 10.0)])


def test_events_are_sorted_with_their_captions():
    # b comes first; a is written backwards
    text, windows = written((9.0, 7.0), (0.0, 3.0))
    assert text == "b<ent>\n<tst>\na<ent>"
    assert windows == [(0.0, 3.0), (3.0, 7.0), (7.0, 9.0)]


def test_equal_times_keep_the_order_given():
    assert written((0.0, 9.0), (0.0, 9.0), (0.0, 9.0))[0] == "a<ent>\nb<ent>\nc<ent>"


def test_overlapping_events_are_all_kept_without_a_transition_between_them():
    text, windows = written((0.0, 6.0), (4.0, 9.0))
    assert (text, windows) == ("a<ent>\nb<ent>", [(0.0, 6.0), (4.0, 9.0)])


def test_a_gap_inside_a_longer_event_is_none():
    # b ends at 2 and c begins at 5, but a lasts from 0 to 9
    assert written((0.0, 9.0), (1.0, 2.0), (5.0, 6.0))[0] == "a<ent>\nb<ent>\nc<ent>"


def test_captions_are_stripped_and_may_have_lines():
    structure = write_structure(["  first\nsecond \n"], [Segment(0, 9)], 10.0)
    assert structure.text == "first\nsecond<ent>"


def test_what_cannot_be_written_is_refused():
    with pytest.raises(ValueError, match="got 1 captions for 2 segments"):
        write_structure(["a"], [Segment(0, 1), Segment(2, 3)], 10.0)
    with pytest.raises(ValueError, match="caption 1 holds <tst>"):
        write_structure(["a", "b <tst>"], [Segment(0, 1), Segment(2, 3)], 10.0)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="finite"):
            write_structure(["a"], [Segment(0, bad)], 10.0)
        with pytest.raises(ValueError, match="finite"):
            write_structure(["a"], [Segment(0, 1)], bad)
    with pytest.raises(ValueError, match="positive"):
        write_structure(["a"], [Segment(0, 1)], 10.0, gap_s=0.0)


@given(segment_lists(max_size=8))
def test_one_event_token_for_each_event(events):
    structure = write_structure(captions_for(events), events, DURATION_S)
    assert structure.text.count("<ent>") == len(events)
    assert structure.text.count("<ent>") + structure.text.count("<tst>") == len(structure.spans)
    kept = [span.segment for span in structure.spans if span.kind is EVENT]
    assert kept == sorted(events)


@given(segment_lists(max_size=8))
def test_two_transitions_never_meet(events):
    kinds = [span.kind for span in write_structure(captions_for(events), events, DURATION_S).spans]
    assert all(TRANSITION not in pair or EVENT in pair for pair in pairwise(kinds))


@given(segment_lists(max_size=8))
def test_transitions_touch_events_at_most(events):
    spans = write_structure(captions_for(events), events, DURATION_S).spans
    gaps = [span.segment for span in spans if span.kind is TRANSITION]
    assert all(intersection_s(gap, event) == 0 for gap in gaps for event in events)
    assert all(length_s(gap) >= 1.0 - 1e-5 for gap in gaps)


@given(disjoint_lists())
def test_long_gaps_all_have_their_transition(events):
    spans = write_structure(captions_for(events), events, DURATION_S).spans
    gaps = {tuple(span.segment) for span in spans if span.kind is TRANSITION}
    between = [(left.end_s, right.start_s) for left, right in pairwise(events)]
    assert {gap for gap in between if gap[1] - gap[0] > 2.0} <= gaps
    assert not {gap for gap in between if gap[1] - gap[0] < 2.0 - 1e-5} & gaps


@given(segment_lists(max_size=8))
def test_what_is_written_is_read(events):
    captions = captions_for(events)
    structure = write_structure(captions, events, DURATION_S)
    tokens = read_structure(structure.text)
    assert [token.kind for token in tokens] == [span.kind for span in structure.spans]
    in_order = [caption for _, caption in sorted(zip(events, captions, strict=True), key=lambda pair: pair[0])]
    assert [token.caption for token in tokens if token.kind is EVENT] == in_order
    assert event_captions(structure.text) == tuple(in_order)


# ---- reading


def test_reading_by_hand():
    text = "<tst>\nstir the pot <ent>\n<tst> <ent> then <tst> wait<ent> Therefore, the answer is (B)"
    assert read_structure(text) == (
        StructuralToken(TRANSITION, ""),
        StructuralToken(EVENT, "stir the pot"),
        StructuralToken(TRANSITION, ""),
        StructuralToken(EVENT, ""),
        StructuralToken(TRANSITION, ""),
        StructuralToken(EVENT, "then wait"),
    )
    assert read_structure("no token at all") == read_structure("") == ()


def test_released_captions_lose_characters():
    # <, t, s and > go from both ends, after blanks: "stir" loses st, "pot" its t, a <tst> in front leaves its newline
    text = "stir the pot <ent> <tst>\nHe sits <ent> rest"
    assert event_captions(text, official=True) == ("ir the po", "\nHe si")
    assert event_captions(text) == ("stir the pot", "He sits")


@given(st.text(alphabet="<>ents ab\n", max_size=200))
def test_any_text_is_read(text):
    tokens = read_structure(text)
    assert len(tokens) == text.count("<ent>") + text.count("<tst>")
    assert all(kind.value not in token.caption for token in tokens for kind in Kind)


@pytest.mark.parametrize("piece", ["<ent>", "<tst>", "<", "<e", "<ts", " ", "\n", "a", "<tst> a", "<ent><tst>"])
def test_hostile_text_costs_linear_time(piece):
    text = piece * (200_000 // len(piece))
    begin = time.process_time()
    read_structure(text)
    event_captions(text)
    assert time.process_time() - begin < 5  # a quadratic reader takes minutes


# ---- windows and targets


def test_clean_windows():
    # 10 steps of 0.5 s: the video is 5 s long
    assert clean_window(Segment(1.0, 2.0), 10, 0.5) == (1.0, 2.0)
    assert clean_window(Segment(-3.0, 99.0), 10, 0.5) == (0.0, 5.0)
    assert clean_window(Segment(4.0, 1.0), 10, 0.5) == (1.0, 4.0)
    # shorter than a step: half a step to both sides of the middle, which stays half a step from the ends
    assert clean_window(Segment(2.0, 2.2), 10, 0.5) == pytest.approx((1.85, 2.35))
    assert clean_window(Segment(0.0, 0.1), 10, 0.5) == (0.0, 0.5)
    assert clean_window(Segment(7.0, 9.0), 10, 0.5) == (4.5, 5.0)


def positives(segment: tuple[float, float], num_steps: int, seconds_per_step: float, **options) -> list[int]:
    """The steps of one target, which must share their weight evenly."""
    row = span_targets([Span(EVENT, Segment(*segment))], num_steps, seconds_per_step, **options)[0]
    steps = np.flatnonzero(row)
    assert row[steps].tolist() == [1 / len(steps)] * len(steps)
    return steps.tolist()


def test_targets_include_the_step_of_the_end():
    assert positives((2.0, 4.0), 10, 1.0) == [2, 3, 4]
    assert positives((2.3, 4.6), 10, 1.0) == [2, 3, 4]
    assert positives((7.0, 10.0), 10, 1.0) == [7, 8, 9]  # there is no step 10
    assert positives((0.0, 4.0), 10, 2.0) == [0, 1, 2]
    # 3 s at 0.4 s a step is step 7.5, 4.1 s is step 10.25
    assert positives((3.0, 4.1), 20, 0.4) == [7, 8, 9, 10]


def test_targets_without_the_step_that_begins_at_the_end():
    assert positives((2.0, 4.0), 10, 1.0, inclusive_end=False) == [2, 3]
    assert positives((2.3, 4.6), 10, 1.0, inclusive_end=False) == [2, 3, 4]
    assert positives((0.0, 4.0), 10, 2.0, inclusive_end=False) == [0, 1]


def test_a_boundary_on_a_step_does_not_depend_on_rounding():
    # 49 steps of 1/49 s end a float short of 1 s; 0.6 / 0.2 is a float short of 3
    assert 0.6 / 0.2 < 3 and 49 * (1 / 49) < 1
    assert positives((0.6, 1.0), 10, 0.2) == [3, 4, 5]
    assert positives((0.6, 1.0), 10, 0.2, inclusive_end=False) == [3, 4]
    assert positives((0.0, 1.0), 98, 1 / 49, inclusive_end=False) == list(range(49))


def test_degenerate_windows_have_a_positive():
    # a moment at 3: 2.5 to 3.5, whose ends lie in steps 2 and 3
    assert positives((3.0, 3.0), 10, 1.0) == [2, 3]
    assert positives((50.0, 60.0), 10, 1.0) == [9]
    assert positives((-5.0, -4.0), 10, 1.0) == [0, 1]  # 0 to 1, end included
    assert positives((5.0, 2.0), 10, 1.0) == [2, 3, 4, 5]
    assert positives((3.0, 4.0), 1, 2.0) == [0]


def test_no_span_has_no_row():
    assert span_targets([], 4, 1.0).shape == (0, 4)


@given(
    st.lists(segments(), max_size=5),
    st.integers(1, 50),
    st.sampled_from([0.2, 0.5, 2 / 3, 1.0, 1.7, 2.0, 31.0]),
    st.booleans(),
)
def test_targets_are_distributions_over_neighbouring_steps(events, num_steps, seconds_per_step, inclusive_end):
    spans = [Span(EVENT, event) for event in events]
    targets = span_targets(spans, num_steps, seconds_per_step, inclusive_end=inclusive_end)
    assert targets.shape == (len(events), num_steps) and targets.dtype == np.float64
    assert targets.sum(axis=1) == pytest.approx(np.ones(len(events)))
    for event, row in zip(events, targets, strict=True):
        steps = np.flatnonzero(row)
        assert np.all(np.diff(steps) == 1)
        if event.end_s <= num_steps * seconds_per_step and length_s(event) >= seconds_per_step:
            # every positive step begins by the end of the event and ends after its start
            assert steps[0] * seconds_per_step <= event.start_s + 1e-4 < (steps[0] + 1) * seconds_per_step + 2e-4
            assert steps[-1] * seconds_per_step <= event.end_s + 1e-4


def test_bad_grids_are_refused():
    for num_steps, seconds_per_step in ((0, 1.0), (4, 0.0), (4, -1.0), (4, math.nan), (4, math.inf)):
        with pytest.raises(ValueError, match="at least one step"):
            span_targets([], num_steps, seconds_per_step)
    with pytest.raises(ValueError, match="finite"):
        span_targets([Span(EVENT, Segment(0.0, math.nan))], 4, 1.0)


def test_words_are_what_is_left_without_tokens():
    assert words_of("<tst>\nShe waves<ent>He\n <ent><tst>") == "She waves He"
    assert words_of("<tst>") == words_of("") == ""
