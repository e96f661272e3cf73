"""On which clips the pairings can part at all: little on plain ones, often on hard ones."""

import numpy as np
import pytest

from museg.temporal.segments import Segment
from tests.rewards.pairing_differences import (
    CLIPS,
    MISTAKES,
    group_agreement,
    moved,
    rewards_of,
    share_different,
    two_swapped,
)

A, B, C = Segment(0.0, 2.0), Segment(4.0, 6.0), Segment(8.0, 10.0)


def test_by_hand():
    assert rewards_of([A, B, C], [A, B, C]) == (1.0, 1.0)
    # A and B pair with each other: no second shared, 4 of the hull of 6 covered: (1 + 0 - 2 / 6) / 2 = 1 / 3 each
    assert rewards_of([A, B, C], [B, A, C]) == pytest.approx(((1 / 3 + 1 / 3 + 1) / 3, 1.0))


def test_drawn_answers_are_what_they_say():
    rng = np.random.default_rng(0)
    for _ in range(200):
        found = moved([C, A, B], 10.0, rng)
        assert found == sorted(found)
        assert all(0 <= start_s < end_s <= 10 for start_s, end_s in found)
    swapped = two_swapped([A, B, C], 10.0, np.random.default_rng(1))
    assert len(swapped) == 3 and swapped != sorted(swapped)


def test_plain_clips_tell_pairings_apart_by_the_number_of_answers_only():
    plain = {name: share_different(CLIPS["plain"], mistake, 60) for name, mistake in MISTAKES.items()}
    assert plain["right"] == 0 and plain["moved"] < 0.02
    assert plain["one missing"] > 0.1 and plain["one extra"] > 0.3


def test_hard_clips_tell_pairings_apart():
    by_time, hard = CLIPS["hard, listed by time"], CLIPS["hard"]
    # without the order of the truth, overlap alone does it for right numbers of moved segments, now and then
    assert share_different(by_time, MISTAKES["right"], 60) == 0
    assert 0.01 < share_different(by_time, MISTAKES["moved"], 60) < 0.2
    # three or four segments come in order of time once in six or twenty-four draws; near ones may score alike
    assert share_different(hard, MISTAKES["right"], 60) > 0.8
    assert share_different(hard, MISTAKES["moved"], 60) > 0.7


def test_what_a_group_of_answers_would_learn_parts_on_hard_clips():
    plain, hard = (group_agreement(CLIPS[name], 40) for name in ("plain", "hard"))
    assert plain[0] > 0.85 and plain[1] < 0.1
    assert hard[0] < 0.8 and hard[1] > 0.4
