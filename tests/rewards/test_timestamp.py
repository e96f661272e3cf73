import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.dialogue.responses import ParsedResponse, read_strict
from museg.rewards.format import FormatReward
from museg.rewards.timestamp import CitationReward, TimestampReward, cites_every_boundary


def cited(reasoning: str, body: str) -> bool:
    return cites_every_boundary(read_strict(f"<think>{reasoning}</think><answer>{body}</answer>"))


@pytest.mark.parametrize(
    ("reasoning", "body", "is_cited"),
    [
        ("from 13.0 to 14.0", "13-14", True),
        ("from 13.00 to 14.00", "13.0-14.0", True),
        ("from 13 to 14", "13-14", False),  # str(float) is 13.0
        ("13 s, 14 s", "13.0-14.0", False),
        ("12.5 and 20.0", "12.50-20.00", True),  # 12.50 asks for 12.5
        ("12.58 and 20.0", "12.582-20", False),  # more decimals than cited
        ("1200 and 20x0", "12-20", True),  # the point is any character ...
        ("12:0 20\n0", "12-20", True),  # ... a line break too
        ("12.03 and 5.0", "2-5", True),  # a part of a longer number
        ("13.0", "13-14", False),  # one of the two is missing
        ("13.0", "13-13", True),  # a number twice in the answer is searched once
        ("1e16 1ee17", "1e16-1e17", True),  # "1e+16": one e or more
        ("1e+16 1e+17", "1e16-1e17", False),
        ("information 1.0", "1-inf", True),
        ("nano 1.0", "1-nan", True),
        ("", "", True),  # no number, nothing missing
        ("anything", "", True),
    ],
)
def test_what_counts_as_cited(reasoning, body, is_cited):
    assert cited(reasoning, body) is is_cited


def test_ten_citations_are_fine_and_eleven_are_not():
    assert cited("2.0 " * 10 + "5.0", "2-5")
    assert not cited("2.0 " * 11 + "5.0", "2-5")
    # the limit is per number: ten of each are fine
    assert cited("2.0 5.0 " * 10, "2-5")
    # matches are counted without overlaps: 1.0 in 1.01.0 twice, not thrice
    assert cited("1.01.0" * 5 + " 5.0", "1-5")


def test_citations_outside_the_reasoning_do_not_count():
    assert not cited("nothing", "2.0-5.0")


@pytest.mark.parametrize(
    ("text", "ladder"),
    [
        ("<think>2.0 5.0</think><answer>2-5</answer>", 1.0),
        ("<think>soon</think><answer>2-5</answer>", 0.6),
        ("<think>soon</think><answer>5-2</answer>", 0.6),
        ("<think>5.0 2.0</think><answer>5-2</answer>", 1.0),
        ("<think>soon</think><answer></answer>", 1.0),
        ("<think>soon</think><answer>2 to 5</answer>", 0.2),
        ("<answer>2-5</answer>", 0.0),
    ],
)
def test_format_and_timestamp_make_the_released_ladder(text, ladder):
    response = read_strict(text)
    assert FormatReward()(response, []) + TimestampReward()(response, []) == ladder


@given(st.text(alphabet="0123456789. \n:x", max_size=60), st.integers(0, 99), st.integers(0, 99))
def test_the_penalty_is_charged_or_not(reasoning, start_s, end_s):
    response = read_strict(f"<think>{reasoning}</think><answer>{start_s}-{end_s}</answer>")
    is_cited = cites_every_boundary(response)
    assert TimestampReward(penalty=0.25)(response, []) == (0.0 if is_cited else -0.25)
    assert CitationReward()(response, []) == (1.0 if is_cited else 0.0)


def test_the_separate_reward_needs_times_to_cite():
    for text in ("<think>a</think><answer></answer>", "2.0 <answer>2-5</answer>", ""):
        assert CitationReward()(read_strict(text), []) == 0.0


def test_a_text_made_to_keep_the_search_busy_is_not_searched():
    # 30,000 distinct times, each cited once, in 0.2 million characters: 10^10 characters to search
    times = [f"{second}.5" for second in range(30_000)]
    body = " ".join(f"{time}-{time}" for time in times)
    assert not cited(" ".join(times), body)
    # a response a thousand times as long as the usual one is searched: 2 x 200 times in 2,000 characters
    some = [f"{second}.25" for second in range(1000, 1200)]
    assert cited(" ".join(some), " ".join(f"{time}-{time}" for time in some))


@given(st.text(alphabet="0123. en\n+", max_size=40), st.sampled_from([0.1, 1.0, 1.25, 2.0, 12.5, 1e16, 1e-5, math.inf]))
def test_a_time_is_counted_as_its_regular_expression(reasoning, time_s):
    """Most times are looked for without compiling a pattern; a pattern decides what is right."""
    matches = re.findall(str(time_s), reasoning, re.DOTALL)
    response = ParsedResponse("", reasoning, None, None, None, (time_s,))
    for limit in (1, 2, 10):
        assert cites_every_boundary(response, limit) is (1 <= len(matches) <= limit)
