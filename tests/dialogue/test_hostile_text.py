"""No text may make a reader raise, and no text may make it slow."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.dialogue.responses import Fault, ParsedResponse, read_lenient, read_lenient_answer, read_strict
from tests.dialogue.generated_texts import generated_texts

WELL_TAGGED = re.compile(r"\s*<think>.*?</think>\s*<answer>.*?</answer>\s*", re.DOTALL)


def check_strict(response: ParsedResponse) -> None:
    """What must hold of every strictly read response."""
    text = response.text
    once = all(text.count(tag) == 1 for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    is_tagged = once and WELL_TAGGED.fullmatch(text) is not None
    assert (response.fault not in (Fault.NO_ANSWER, Fault.BAD_TAGS)) == is_tagged
    assert (response.answer is None) == (response.fault is Fault.NO_ANSWER)
    if response.fault is None:
        assert response.segments is not None
    if response.segments is not None:
        assert all(0 <= start_s < end_s for start_s, end_s in response.segments)
        assert response.boundaries_s == tuple(boundary_s for segment in response.segments for boundary_s in segment)


def check_lenient(response: ParsedResponse) -> None:
    """What must hold of every leniently read response."""
    assert response.segments is not None
    assert all(start_s < end_s for start_s, end_s in response.segments)
    assert response.fault is None or response.segments == ()


def test_a_hundred_thousand_texts_are_read():
    faults = set()
    for text in generated_texts(100_000, seed=0):
        strict, lenient = read_strict(text), read_lenient(text)
        check_strict(strict)
        check_lenient(lenient)
        faults |= {strict.fault, lenient.fault}
    assert faults == {None, *Fault}  # the texts reach every outcome


@given(st.text())
def test_any_text_is_read(text):
    check_strict(read_strict(text))
    check_lenient(read_lenient(text))
    check_strict(read_strict(f"<think>{text}</think><answer>{text}</answer>"))
    read_lenient_answer(text)


@pytest.mark.parametrize(
    "text",
    [
        "<think></think><answer>" + "1-2 " * 250_000 + "</answer>",
        "<think></think><answer>" + "1" * 1_000_000 + "-2</answer>",
        "<think></think><answer>" + "1" + "." * 1_000_000 + "</answer>",
        "<think></think><answer>" + "-" * 1_000_000 + "</answer>",
        "<think>" * 140_000,
        "<answer></answer>" * 60_000,
        "<think></think>" + " " * 1_000_000 + "x<answer></answer>",
    ],
    ids=["items", "digits", "dots", "dashes", "think", "blocks", "blanks"],
)
def test_a_megabyte_is_read_in_linear_time(text):
    started_s = time.perf_counter()
    check_strict(read_strict(text))
    check_lenient(read_lenient(text))
    assert time.perf_counter() - started_s < 10  # well under one second alone; quadratic work would take minutes
