import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.dialogue.dense_captions import read_dense_captions
from museg.dialogue.et_bench_answers import read_et_bench_answer, read_opening_option, read_option, read_ranges
from museg.meco.answers import (
    captioned,
    captions_text,
    grounded_option_text,
    highlight_time_s,
    moment_text,
    option_text,
    ranges_text,
    released_highlight_time_s,
)
from museg.meco.localization import Run, scored_segments
from museg.meco.structure import read_structure
from museg.metrics.et_bench_choices import named_option
from museg.temporal.segments import Segment
from tests.temporal.drawn_segments import segment_lists, segments

RUNS = [[], [Run(2, 5, 0.3, 4)], [Run(8, 9, 0.9, 8)]]
"""A transition's row and two events, the second one the better."""
FOUND = scored_segments(RUNS, 0.5)


def test_a_highlight_is_the_middle_of_the_best_step():
    # step 8 lasts from 4 to 4.5 s
    assert highlight_time_s(FOUND, 0.5) == 4.25
    assert highlight_time_s([], 0.5) is None


def test_the_released_highlight_mixes_two_runs():
    # the first run peaks 2 steps after its start; the best one starts at step 8: step 10, beyond its end
    assert released_highlight_time_s(FOUND, RUNS, 0.5) == 5.0
    assert released_highlight_time_s([], [[], []], 0.5) is None


def test_every_run_has_the_caption_of_its_token():
    tokens = read_structure("<tst>\nHe pours.<ent>\nHe drinks.<ent>")
    assert captioned(FOUND, tokens) == [((4.0, 4.5), "He drinks."), ((1.0, 2.5), "He pours.")]
    assert captioned(FOUND, tokens[:1]) == [((4.0, 4.5), ""), ((1.0, 2.5), "")]


@pytest.mark.parametrize("task", ["tvg", "epm", "tem", "tal", "evs"])
def test_nothing_found_is_a_failure_for_every_reader(task):
    assert read_et_bench_answer(task, ranges_text([]), {}) == (None, "unreadable")
    assert read_et_bench_answer("vhd", moment_text(None), {}) == (None, "unreadable")
    assert read_et_bench_answer("dvc", captions_text([]), {}) == (None, "unreadable")
    assert read_et_bench_answer("eca", option_text(None, []), {}) == (None, "no_letter")
    assert read_et_bench_answer("gvq", grounded_option_text(None, "", []), {}) == (None, "no_letter")


@given(segment_lists(min_size=1))
def test_segments_are_read_back(found):
    assert list(read_ranges(ranges_text(found)).segments) == found


@given(st.integers(0, 500_000))
def test_a_moment_is_read_back(time_ms):
    assert read_et_bench_answer("vhd", moment_text(time_ms / 1000), {})[0] == ((time_ms / 1000, time_ms / 1000),)


CAPTIONS = st.lists(
    st.sampled_from(["a man", " ", "3 - 4", "3. - 4", "-", "12.5", "Seconds", "start time: 3", "\n", ",", "x", "é"]),
    max_size=6,
).map("".join)


@given(st.lists(st.tuples(segments(), CAPTIONS), min_size=1, max_size=6))
def test_captions_are_read_back(moments):
    found = read_dense_captions(captions_text(moments))
    assert list(found.segments) == [segment for segment, _ in moments]
    for read, (_, caption) in zip(found.captions, moments, strict=True):
        # letters are what must not be lost: the reader lowers them, and strips blanks and commas
        expected = "".join(filter(str.isalpha, caption.lower().replace("seconds", "s")))
        assert "".join(filter(str.isalpha, read)).replace("to", "") == expected


def test_a_caption_by_hand():
    moments = [(Segment(0.0, 2.0), "Adds 3 - 4 eggs\nfor 10 seconds"), (Segment(2.0, 5.25), "")]
    assert captions_text(moments) == "0.000 - 2.000, Adds 3 to 4 eggs for 10 s\n2.000 - 5.250,     "
    assert read_dense_captions(captions_text(moments)).captions == ("adds 3 to 4 eggs for 10 s", "")


def test_options():
    options = ["57.4 - 87.3", "64.8 - 78.9"]
    assert option_text(1, options) == "(B) 64.8 - 78.9"
    assert read_option(option_text(1, options)).letters[0] == "b"


def test_grounded_options():
    found = [Segment(1.0, 2.5), Segment(7.0, 9.0)]
    by_letter = grounded_option_text("b", "so the answer is (B)", found)
    assert by_letter == "(B) 1.000 - 2.500, 7.000 - 9.000"
    assert read_opening_option(by_letter).letters == ("b",)
    assert read_ranges(by_letter).segments == tuple(found)
    by_words = grounded_option_text(None, " a blue cup ", found)
    assert by_words == "1.000 - 2.500, 7.000 - 9.000 a blue cup"
    assert named_option(read_opening_option(by_words), 4) is None  # a digit names no option
    assert grounded_option_text("b", "", []) == "(B)"
    assert grounded_option_text(None, "a blue cup", []) == "a blue cup"
