import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.video.budget import FrameBudget

RELEASED = FrameBudget()
SMALL = FrameBudget(
    sample_rate_fps=1, min_frames=4, max_frames=48, min_pixels=784, max_pixels=784, total_pixels=24 * 784
)

sizes_px = st.integers(16, 2000)


def test_two_frames_a_second_up_to_the_limit():
    assert RELEASED.num_frames(300, 30.0) == 20  # 10 s x 2
    assert RELEASED.num_frames(309, 30.0) == 20  # 20.6, down to an even number
    assert RELEASED.num_frames(30 * 600, 30.0) == 448  # 1,200 wanted
    assert RELEASED.num_frames(15, 30.0) == 4  # 1 wanted, at least 4
    assert RELEASED.num_frames(3, 30.0) == 2  # 4 wanted, 3 there


def test_no_limit_means_768():
    assert FrameBudget(max_frames=None).num_frames(30 * 600, 30.0) == 768


def test_pixels_are_shared_by_the_frames():
    # 2,809,856 / 448 x 2 = 12,544 pixels for each of 448 frames, but never less than 1.05 x 12,544 = 13,171;
    # 640 x 360: scale sqrt(230400 / 13171) = 4.18, 360 / 4.18 = 86.1 -> 84, 640 / 4.18 = 153.0 -> 140
    assert RELEASED.frame_size(448, 360, 640) == (84, 140)
    # few frames: 768 x 784 = 602,112 pixels at most, 230,400 fit; sides go to the nearest multiple of 28
    assert RELEASED.frame_size(4, 360, 640) == (364, 644)


def test_tiny_frames_are_enlarged_only_to_the_budgets_own_minimum():
    assert RELEASED.frame_size(24, 28, 28) == (112, 112)
    assert SMALL.frame_size(24, 28, 28) == (28, 28)
    assert SMALL.num_frames(24, 1.0) == 24


@given(total_frames=st.integers(2, 10**6), video_fps=st.floats(0.1, 240))
def test_frame_counts_are_even_and_within_limits(total_frames, video_fps):
    num_frames = RELEASED.num_frames(total_frames, video_fps)
    assert num_frames % 2 == 0
    assert 2 <= num_frames <= min(448, total_frames)


@given(num_frames=st.integers(2, 448), height=sizes_px, width=sizes_px)
def test_sides_are_multiples_of_28_within_the_share_of_pixels(num_frames, height, width):
    h, w = RELEASED.frame_size(num_frames, height, width)
    assert h % 28 == w % 28 == 0
    assert min(h, w) >= 28
    # only enlarging rounds up, by less than one multiple on either side
    assert (h - 28) * (w - 28) < max(min(602_112, 2_809_856 / num_frames * 2), 13_171)


@pytest.mark.parametrize("total_frames", [0, 1])
def test_fewer_than_two_frames_are_refused(total_frames):
    with pytest.raises(ValueError, match="at least 2"):
        RELEASED.num_frames(total_frames, 25.0)


@pytest.mark.parametrize("video_fps", [0.0, -1.0, float("nan"), float("inf")])
def test_unusable_frame_rate_is_refused(video_fps):
    with pytest.raises(ValueError, match="frame rate"):
        RELEASED.num_frames(100, video_fps)


def test_extreme_aspect_is_refused():
    with pytest.raises(ValueError, match="200 times"):
        RELEASED.frame_size(4, 2, 500)


@pytest.mark.parametrize(
    "broken",
    [{"sample_rate_fps": 0}, {"min_pixels": -1}, {"max_frames": 1}, {"max_frames": 2}, {"max_pixels": 100}],
)
def test_contradictory_budgets_are_refused(broken):
    with pytest.raises(ValueError, match="FrameBudget"):
        FrameBudget(**broken)


def test_most_tokens_of_a_video():
    # the total is what limits: 448 frames of 768 tokens for each pair would be 172,032
    assert FrameBudget().most_video_tokens == 3584
    # 8 frames are 4 pairs of at most 2 x 784 px, which is less than the total of 3584
    assert FrameBudget(max_frames=8, min_pixels=784, max_pixels=2 * 784).most_video_tokens == 8
    assert FrameBudget(max_frames=None).most_video_tokens == 3584
