import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.meco.saliency import clip_saliency, event_saliency
from museg.meco.structure import Kind

EVENT, TRANSITION = Kind.EVENT, Kind.TRANSITION


def test_saliency_is_the_mean_over_events():
    rows = [[0.0, math.log(3.0)], [5.0, -5.0], [0.0, 0.0]]
    # softmax of the first (1/4, 3/4) and of the third (1/2, 1/2); the transition does not count
    found = event_saliency(rows, [EVENT, TRANSITION, EVENT], 1.0)
    assert found == pytest.approx([0.375, 0.625])
    assert event_saliency(rows, [TRANSITION] * 3, 1.0).shape == event_saliency([], [], 1.0).shape == (0,)


def test_clips_of_two_steps():
    # the fifth step is no whole clip of 2 s
    assert clip_saliency(np.array([0.2, 0.4, 0.0, 0.6, 0.9]), 1.0, 5.0) == pytest.approx((0.3, 0.3))


def test_clips_count_steps_by_the_time_they_share():
    # steps of 1.5 s: the first clip has all of step 0 and 0.5 s of step 1, the second 1 s of step 1 and 1 s of step 2
    found = clip_saliency(np.array([1.0, 0.0, 0.4]), 1.5, 4.5)
    assert found == pytest.approx((1.5 * 1.0 / 2, 1.0 * 0.4 / 2))
    # steps of 4 s hold two clips each
    assert clip_saliency(np.array([0.2, 0.6]), 4.0, 8.0) == pytest.approx((0.2, 0.2, 0.6, 0.6))


def test_what_no_step_covers_is_not_salient():
    assert clip_saliency(np.array([1.0, 1.0]), 1.0, 6.0) == pytest.approx((1.0, 0.0, 0.0))
    assert clip_saliency(np.zeros(0), 1.0, 6.0) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.5, 1.0, 1.3, 2.0, 5.0]))
def test_clips_keep_the_time_they_cover(values, seconds_per_step):
    saliency = np.array(values)
    duration_s = len(values) * seconds_per_step
    clips = clip_saliency(saliency, seconds_per_step, duration_s)
    assert len(clips) == int(duration_s / 2)
    assert all(-1e-9 <= clip <= max(values) + 1e-9 for clip in clips)
    rest = (duration_s - 2 * len(clips)) * max(values)
    assert 2 * sum(clips) <= saliency.sum() * seconds_per_step + 1e-9
    assert 2 * sum(clips) >= saliency.sum() * seconds_per_step - rest - 1e-9
