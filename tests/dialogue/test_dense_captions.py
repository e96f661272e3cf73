"""What the reader of moments with captions finds; expected values follow from the rules in its docstrings."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.dialogue.dense_captions import DenseCaptions, read_dense_captions
from museg.temporal.segments import Segment
from tests.dialogue.generated_texts import generated_texts


def found(text: str) -> list[tuple[float, float, str]] | None:
    dense = read_dense_captions(text)
    return dense and [(*segment, caption) for segment, caption in zip(dense.segments, dense.captions, strict=True)]


def test_ranges_part_the_captions():
    assert read_dense_captions("2 - 9.5 seconds, Stir the pot. 12-15, cut bread") == DenseCaptions(
        (Segment(2.0, 9.5), Segment(12.0, 15.0)), ("stir the pot.", "cut bread")
    )
    assert found("9 - 2, stir the pot") == [(2.0, 9.0, "stir the pot")]  # written backwards


def test_words_before_the_first_range_shift_all_captions():
    text = "Here are the steps:\n0 - 5, stir the pot\n5 - 9, cut bread"
    assert found(text) == [(0.0, 5.0, "here are the steps:"), (5.0, 9.0, "stir the pot")]


def test_a_caption_of_five_characters_vanishes():
    # ", mix\n" loses its newline, which leaves five characters; the caption after it takes its place
    assert found("0 - 5, mix\n5 - 9, cut bread") == [(0.0, 5.0, "cut bread")]


def test_a_range_is_taken_out_of_the_middle_of_another():
    # "1 - 2" goes first, also from "11 - 20", which leaves "1" before and "0, cut bread" after a newline
    assert found("1 - 2, stir pot 11 - 20, cut bread") == [(1.0, 2.0, "stir pot 1"), (11.0, 20.0, "0, cut bread")]


def test_labelled_times():
    text = "Starting time: 5 seconds\nEnding time: 9.5s\nDescription: Stir the pot\n"
    assert found(text + "start time: 20\nend time: 11\ndescription: cut bread") == [
        (5.0, 9.5, "stir the pot"),
        (11.0, 20.0, "cut bread"),
    ]
    assert found("start time: 1 end time: 2\n* stir the pot") == [(1.0, 2.0, "stir the pot")]
    # a third start has no end, a second caption is missing
    assert found("start time: 1 end time: 2 start time: 3 end time: 4 start time: 5\ndescription: stir the pot") == [
        (1.0, 2.0, "stir the pot")
    ]


def test_labels_without_colons_are_refused():
    assert found("stir pot at start time 5, end time 9 seconds, then rest") is None
    # said in another way they are two numbers of a sentence
    assert found("stir pot at start time 5 and end time 9") == [(5.0, 9.0, "stir pot at start time 5 and end time 9.")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("At 50 seconds, Stir the pot", (30.0, 70.0, "Stir the pot.")),  # 20 s to both sides; the case stays
        ("At 20 seconds, Stir the pot", (20.0, 60.0, "Stir the pot.")),  # 40 s from there on
        ("At 50.128 seconds, Stir\n", (30.13, 70.13, "Stir")),  # two decimals
        (
            "At 50.25 seconds, Stir the pot",
            (5.0, 45.0, "Stir the pot."),
        ),  # "At 50" is too short, "25 seconds, .." is not
        ("At 01:05 seconds, Stir", (45.0, 85.0, "Stir.")),  # 65 s
        ("From 01:05 to 02:10 seconds, Stir", (65.0, 130.0, "Stir.")),
        ("Between 9 and 5 seconds, Stir", (5.0, 9.0, "Stir.")),
        ("10 - 20 sec", (10.0, 20.0, "10 - 20 sec.")),  # a range without a caption
        ("1 2 3 things happen\nat 30 seconds, Stir", (10.0, 50.0, "Stir")),  # three numbers are no time
        ("At 1:30.5 seconds, Stir\nat 7 seconds, Cut", (7.0, 47.0, "Cut")),  # no mm:ss
        ("5..15 seconds in, Stir\nat 40 seconds, Cut", (20.0, 60.0, "Cut")),  # no number
        ("At 40 seconds seconds, Cut, seconds done\n", (20.0, 60.0, "done")),  # what follows the last "seconds"
    ],
)
def test_the_first_piece_that_tells_a_time(text, expected):
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stir the pot",
        "10 - 20",
        "5..15 - 20, stir the pot",
        "start time: 1..2 end time: 3\n* stir",
        "01:02:03 seconds",
    ],
)
def test_what_cannot_be_read(text):
    assert read_dense_captions(text) is None


def check(text: str) -> None:
    dense = read_dense_captions(text)
    if dense is not None:
        assert len(dense.segments) == len(dense.captions) > 0
        assert all(0 <= start_s <= end_s for start_s, end_s in dense.segments)


def test_many_texts_are_read():
    for text in generated_texts(10_000, seed=1):
        check(text)


@given(st.text())
def test_any_text_is_read(text):
    check(text)


@given(
    st.lists(
        st.sampled_from(["start time: ", "end time: ", " - ", "12", ".", ":", "seconds", "\n", "* ", "stir pot", " "])
    )
)
def test_any_mix_of_its_own_words_is_read(parts):
    check("".join(parts))


@pytest.mark.parametrize(
    "part", ["1", ".", "1.", "-", "1-", " ", "1 ", "1-1 ", "start time 1", "* ", "1:", "\x00", "\ud800"]
)
def test_ten_megabytes_are_read_in_no_time(part):
    start_s = time.perf_counter()
    check(part * (10_000_000 // len(part)))
    assert time.perf_counter() - start_s < 3
