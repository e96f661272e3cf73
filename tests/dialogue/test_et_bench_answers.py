"""The readers of E.T. Bench answers: examples worked out by hand, and the plain rules on any short text."""

import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from museg.dialogue.et_bench_answers import (
    TASKS,
    chosen_letter,
    is_finite,
    read_concluded_option,
    read_et_bench_answer,
    read_highlight_time,
    read_opening_option,
    read_option,
    read_ranges,
)
from museg.temporal.segments import Segment
from tests.dialogue.generated_texts import generated_texts

SIZE = 10_000_000
NUMBER = r"(\d+\.*\d*)"
CROWDED = st.text(alphabet="12.- to\n!?sٍ٣\x1c", max_size=14)
"""Texts in which numbers, dots, dashes and blanks (ASCII and not) meet in every way."""
WORDY = st.lists(
    st.sampled_from(
        [*"12.- ()bE,!?\n", " to ", "start", "end", "12", "1.5", "happens in", "friend ", "Best option:", "s"]
    ),
    max_size=12,
).map("".join)


def plain_ranges(text: str) -> list[tuple[str, str]]:
    """The published rules as they stand, in patterns that need cubic time."""
    text = text.lower()
    for between in (r"\s*-\s*", r"\s* to \s*"):
        if pairs := re.findall(NUMBER + between + NUMBER, text):
            return pairs
    words = ("starts", "ends", "happens in", "start time", "end time", "start", "end", "happen")
    pieces = [piece for piece in re.split(r"[!?\n]", text) if any(word in piece for word in words)]
    numbers = [found[0] for found in (re.findall(r"\b(\d+\.\d+\b|\b\d+)\b", piece) for piece in pieces) if found]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def check_against_plain_rules(text: str) -> None:
    pairs, reading = plain_ranges(text), read_ranges(text)
    try:
        expected = [tuple(sorted(map(float, pair))) for pair in pairs]
    except ValueError:
        assert (reading.segments, reading.failure) == (None, "official_raises")
    else:
        assert reading.segments == (tuple(expected) or None)
        assert reading.failure == (None if pairs else "unreadable")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The event happens in 12.5 - 20.", [(12.5, 20)]),
        ("1.2.3 - 4", [(2.3, 4)]),
        ("5-10-15", [(5, 10)]),
        ("1-2.3.4-5", [(1, 2.3), (4, 5)]),
        ("20 - 10 and 3-3", [(10, 20), (3, 3)]),
        ("-5 - 10", [(5, 10)]),
        ("01:05 - 01:20", [(1, 5)]),
        ("2021-03-14, then 5 - 9", [(3, 2021), (5, 9)]),
        (".5 - 1,5", [(1, 5)]),
        ("٣ - ٥", [(3, 5)]),
        ("from 3 to 9, not 10 to\n11", [(3, 9)]),
        ("It starts at 12.5s!\nIt ENDS at 20", [(12, 20)]),  # 12.5s: only the 12 stands alone
        ("My friend waves 3 times\nand recommends 9\nend 5", [(3, 9)]),
    ],
)
def test_ranges_as_the_published_script_reads_them(text, expected):
    # of ".5 - 1,5" the number before the dash is 5 and the one after it 1, turned round
    assert read_ranges(text).segments == tuple(Segment(*pair) for pair in expected)


@pytest.mark.parametrize(
    "text", ["", "12s - 18s", "[3, 9]", "3 – 9", "3 ~ 9", "starts at 3. It ends at 9.", "3\tto\t9"]
)
def test_what_is_no_range(text):
    assert read_ranges(text).segments is None
    assert read_ranges(text).failure == "unreadable"


def test_a_number_that_is_none_stops_the_published_script():
    assert (
        read_ranges("0... - 12").segments == (Segment(0, 12),) or read_ranges("0... - 12").failure == "official_raises"
    )
    assert read_ranges("1 - 2, 3..5 - 9").failure == "official_raises"
    assert read_ranges("5. - 9.").segments == (Segment(5, 9),)  # float() takes one dot at the end


@given(CROWDED)
@settings(max_examples=2_000)
def test_crowded_texts_are_read_by_the_plain_rules(text):
    check_against_plain_rules(text)


@given(WORDY)
@settings(max_examples=1_000)
def test_wordy_texts_are_read_by_the_plain_rules(text):
    check_against_plain_rules(text)


def test_generated_texts_are_read_by_the_plain_rules():
    for text in generated_texts(3_000, seed=1):
        check_against_plain_rules(text[:80])


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("at -5.2 s", -5.2),
        (".7", 0.7),
        ("the 2nd", 2),
        ("10-20", 10),
        ("+3", 3),
        ("00:55", 0),
        ("٧.٥", 7.5),
        ("none", None),
    ],
)
def test_one_moment(text, expected_s):
    assert read_highlight_time(text) == expected_s


@pytest.mark.parametrize(
    ("text", "letters", "remainder"),
    [
        ("(B) pick up", ("b",), "b) pick up"),  # the opening letter is the same one; named twice it stays one option
        ("Say (C)", ("c",), "say (c)"),
        ("Best Option: (B) x", ("b",), "b) x"),
        ("d, because", ("d",), "d, because"),
        ("A man (C)", ("c", "a"), "a man (c)"),
        ("Option D", (), "option d"),
        ("best option:", (), ""),
        ("( ", (), ""),
        ("(1)", ("1",), "1)"),
    ],
)
def test_options(text, letters, remainder):
    reading = read_option(text)
    assert (tuple(dict.fromkeys(reading.letters)), reading.remainder) == (letters, remainder)


def test_an_opening_option_keeps_its_case_and_looks_nowhere_else():
    assert read_opening_option("The answer is (B)").letters == ()
    assert read_opening_option("BEST option: (B) Red Cup").letters == ("b",)
    assert read_opening_option("BEST option: (B) Red Cup").remainder == "B) Red Cup"


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("He pours. Therefore, the answer is (B).", ("b",)),
        ("Therefore, the answer is : (b) the cup", ("b",)),
        ("therefore, The Answer is C.", ("c",)),
        ("the answer is (A)? No, the answer is (D)", ("d",)),
        ("(A) He pours. Therefore, the answer is D", ("d",)),
        ("(A) and the answer is hard to see", ("a",)),  # no conclusion: as an opening option is read
        ("the answer is Basil", ()),
        ("nothing", ()),
        ("", ()),
    ],
)
def test_a_concluded_option(text, letters):
    assert read_concluded_option(text).letters == letters


def test_a_concluded_option_as_released():
    def letters(text):
        return read_concluded_option(text, official=True).letters

    assert letters("Therefore, the answer is: (B). Therefore, the answer is (A)") == ("b",)
    assert letters("Therefore, the answer is B.") == ()  # needs parentheses; the text opens with "Th"
    assert letters("<ent>B) the cup<ent>") == ("b",)
    assert letters("(B) the cup") == ()
    # <, e, n, t and > go from both ends: nothing is left of a token, or of a word
    assert read_concluded_option("<ent>", official=True).remainder == ""
    assert read_concluded_option("tent pegs in ten<ent>", official=True).remainder == " pegs in "
    assert read_concluded_option("Therefore, the answer is (E) x", official=True).remainder == "E"


@pytest.mark.parametrize(
    ("words", "letter"),
    [
        ("A man opens a door.", None),
        ("A. a man", "a"),
        ("(D) a man", "d"),
        ("B", "b"),
        ("A man waves. Therefore, the answer is (E)", "e"),
        ("A man waves. The answer is: B", "b"),
        ("", None),
    ],
)
def test_an_article_is_no_letter(words, letter):
    assert chosen_letter(words) == letter


def test_what_is_drawn_of_every_task():
    assert read_et_bench_answer("tvg", "3 - 9", {}) == ((Segment(3, 9),), None)
    assert read_et_bench_answer("tal", "none", {}) == (None, "unreadable")
    assert read_et_bench_answer("evs", "3 - " + "9" * 400, {}) == (None, "official_raises")  # infinity has no second
    assert read_et_bench_answer("tvg", "3 - " + "9" * 400, {}) == ((Segment(3, math.inf),), None)
    assert read_et_bench_answer("vhd", "at 4.5", {}) == ((Segment(4.5, 4.5),), None)
    assert read_et_bench_answer("vhd", "", {}) == (None, "unreadable")
    assert read_et_bench_answer("rar", "(A)", {}) == (None, None)
    assert read_et_bench_answer("eca", "perhaps", {}) == (None, None)  # its text is compared with the options
    assert read_et_bench_answer("eca", " (", {}) == (None, "no_letter")
    assert read_et_bench_answer("gvq", "(A) 3 - 9", {}) == ((Segment(3, 9),), None)
    assert read_et_bench_answer("gvq", "(", {}) == (None, "no_letter")
    assert read_et_bench_answer("dvc", "0 - 5, stir the pot.", {}) == ((Segment(0, 5),), None)
    assert read_et_bench_answer("slc", "nothing", {}) == (None, "unreadable")
    with pytest.raises(ValueError, match="unknown task 'abc'"):
        read_et_bench_answer("abc", "", {})


@given(st.text())
def test_any_text_is_read_by_every_task(text):
    for task in TASKS:
        segments, failure = read_et_bench_answer(task, text, {})
        assert segments is None or failure in (None, "no_letter")
        assert segments is None or is_finite(segments) or task != "evs"


@pytest.mark.parametrize("unit", ["1", ".", "1.", "-", "1-", " ", "end 1\n", "1 to ", "(", "the answer is  "])
def test_ten_megabytes_are_read_in_linear_time(unit):
    text = unit * (SIZE // len(unit))
    started_s = time.process_time()
    read_ranges(text)
    read_highlight_time(text)
    read_option(text)
    read_opening_option(text)
    read_concluded_option(text)
    read_concluded_option(f"Therefore, the answer is{text}", official=True)
    assert time.process_time() - started_s < 10  # 1 to 3 s; quadratic work would take hours
