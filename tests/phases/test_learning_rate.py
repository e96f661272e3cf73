from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.phases.learning_rate import learning_rate


def test_the_released_curve():
    # from the peak straight down: after 100 of 400 steps three quarters are left; 0 would come one step after the last
    rate = [learning_rate(step, 400, peak=1.5e-6) for step in range(401)]
    assert rate[0] == 1.5e-6
    assert rate[100] == pytest.approx(1.5e-6 * 3 / 4)
    assert rate[399] == pytest.approx(1.5e-6 / 400)
    assert rate[400] == 0.0


def test_warm_up_climbs_in_equal_steps():
    # warm-up of 3: 1/4, 2/4, 3/4 of the peak, then the peak at step 3
    rate = [learning_rate(step, 10, peak=1.0, warmup_steps=3, shape="constant") for step in range(5)]
    assert rate == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_final_fraction_and_shapes():
    def at(step, shape):
        return learning_rate(step, 100, peak=2.0, final_fraction=0.1, shape=shape)

    assert at(50, "linear") == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert at(50, "cosine") == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    assert at(25, "cosine") == pytest.approx(2.0 * (0.1 + 0.9 * (1 + 2**-0.5) / 2))
    assert at(100, "linear") == pytest.approx(0.2) and at(100, "cosine") == pytest.approx(0.2)
    assert at(99, "constant") == 2.0


@given(
    num_steps=st.integers(1, 60),
    warmup_steps=st.integers(0, 80),
    final_fraction=st.floats(0, 1),
    shape=st.sampled_from(["linear", "cosine", "constant"]),
)
def test_rises_to_the_peak_and_then_never_rises(num_steps, warmup_steps, final_fraction, shape):
    rate = [
        learning_rate(step, num_steps, peak=1.0, warmup_steps=warmup_steps, final_fraction=final_fraction, shape=shape)
        for step in range(num_steps)
    ]
    top = min(warmup_steps, num_steps - 1)
    assert all(0 <= value <= 1 for value in rate)
    assert all(a < b for a, b in pairwise(rate[: top + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(rate[top:]))
    if warmup_steps < num_steps:
        assert rate[warmup_steps] == 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"step": -1},
        {"step": 11},
        {"peak": -1.0},
        {"warmup_steps": -1},
        {"final_fraction": 1.5},
        {"shape": "square"},
    ],
)
def test_refused_settings(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        learning_rate(**({"step": 5, "num_steps": 10, "peak": 1.0} | wrong))
