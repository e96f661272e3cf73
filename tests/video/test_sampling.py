import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.video.sampling import sample_indices, sampled_fps


def test_indices_are_even_and_hold_both_ends():
    # 0, 5.8, 11.6, 17.4, 23.2, 29
    assert sample_indices(30, 6).tolist() == [0, 6, 12, 17, 23, 29]


def test_all_frames_are_every_number():
    assert sample_indices(24, 24).tolist() == list(range(24))


@given(st.integers(2, 100_000), st.integers(2, 768))
def test_indices_rise_within_the_clip(total_frames, num_frames):
    indices = sample_indices(total_frames, min(num_frames, total_frames))
    assert indices.dtype == np.int64
    assert indices[0] == 0
    assert indices[-1] == total_frames - 1
    assert (np.diff(indices) > 0).all()


@pytest.mark.parametrize("num_frames", [0, 31])
def test_impossible_counts_are_refused(num_frames):
    with pytest.raises(ValueError, match="1 to 30"):
        sample_indices(30, num_frames)


def test_rate_follows_the_share_of_frames():
    assert sampled_fps(300, 20, 30.0) == 2.0
    # the cap of 448 lowers the rate: 448 / 7200 x 30
    assert sampled_fps(7200, 448, 30.0) == pytest.approx(1.8666667)
