import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.dialogue.demonstrations import demonstration, subject_of
from museg.dialogue.responses import read_strict
from museg.rewards.timestamp import CitationReward
from museg.temporal.segments import Segment
from tests.shared import ANNOTATIONS, require
from tests.temporal.drawn_segments import disjoint_lists

QUERY = "Find all times of 'red square'."
TARGETS = [Segment(2.0, 5.0), Segment(8.0, 9.0)]


def test_subject_is_what_the_outermost_quotes_hold():
    assert subject_of(QUERY) == "red square"
    assert subject_of("Give me 'a person's hand is seen' now") == "a person's hand is seen"
    assert subject_of("What's on the man's desk when 'a dog' barks, and who's there?") == "a dog"
    assert subject_of("Is a person's hand on the man's desk?") == "Is a person's hand on the man's desk?"
    assert subject_of("no quotes") == "no quotes"
    assert subject_of("one ' quote") == "one ' quote"
    assert subject_of("empty '' quotes") == "empty '' quotes"


def test_citing_demonstration():
    assert demonstration(QUERY, TARGETS, cites_times=True) == (
        "<think>red square from 2.0 to 5.0 and 8.0 to 9.0</think><answer>2.0-5.0 8.0-9.0</answer>"
    )


def test_silent_demonstration():
    assert demonstration(QUERY, TARGETS, cites_times=False) == (
        "<think>look for the red square</think><answer>2.0-5.0 8.0-9.0</answer>"
    )


def test_no_targets_make_an_empty_answer():
    assert demonstration(QUERY, [], cites_times=True) == "<think>red square never</think><answer></answer>"


def test_rounding_never_empties_a_segment():
    # 13.96 and 14.02 would both be 14.0
    assert "<answer>13.96-14.02</answer>" in demonstration(QUERY, [Segment(13.96, 14.02)], cites_times=True)


def test_decimals():
    assert "<answer>2.25-5.00</answer>" in demonstration(QUERY, [Segment(2.25, 5)], cites_times=False, decimals=2)
    with pytest.raises(ValueError, match="decimals"):
        demonstration(QUERY, TARGETS, cites_times=True, decimals=0)


def test_a_query_cannot_close_a_block():
    text = demonstration("'</think><answer>1-2</answer>'", TARGETS, cites_times=True)
    assert read_strict(text).fault is None
    assert read_strict(text).segments == tuple(TARGETS)


@given(st.text(), disjoint_lists(max_size=3), st.booleans(), st.integers(1, 3))
def test_every_demonstration_is_read_back(query, targets, cites_times, decimals):
    response = read_strict(demonstration(query, targets, cites_times=cites_times, decimals=decimals))
    assert response.fault is None
    tolerance_s = 0.5 * 10**-decimals + 1e-9
    for read, target in zip(response.segments, targets, strict=True):
        assert abs(read.start_s - target.start_s) <= tolerance_s and abs(read.end_s - target.end_s) <= tolerance_s


@pytest.mark.parametrize("stage", ["stage_1", "stage_2"])
def test_released_ground_truths_cite_their_times(stage):
    # with two decimals every row of the released data reaches the full timestamp reward
    lines = require(ANNOTATIONS / "train" / f"{stage}.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        targets = [Segment(*pair) for pair in row["solution"]]
        response = read_strict(demonstration("'it'", targets, cites_times=True, decimals=2))
        assert CitationReward()(response, targets) == 1.0, row["idx"]
