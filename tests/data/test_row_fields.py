import pytest

from museg.data import row_fields
from museg.temporal.segments import Segment


def test_segments_keep_order_and_faults():
    assert row_fields.segments([[4, 5.5], [3, 1]], "tgt") == (Segment(4.0, 5.5), Segment(3.0, 1.0))


def test_messages_name_the_field_and_stay_short():
    with pytest.raises(ValueError, match="tgt must hold seconds") as raised:
        row_fields.seconds("9" * 10_000_000, "tgt")
    assert len(str(raised.value)) < 150
    with pytest.raises(ValueError, match="lacks b, c"):
        row_fields.need({"a": 1}, "a", "b", "c")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, 10**400])
def test_times_are_finite_from_0(value):
    with pytest.raises(ValueError, match="finite seconds from 0"):
        row_fields.seconds(value, "tgt")


@pytest.mark.parametrize("value", [True, -1, 1.0, "1", None])
def test_whole_numbers(value):
    with pytest.raises(ValueError, match="idx must be a whole number from 0"):
        row_fields.whole_number(value, "idx")


@pytest.mark.parametrize(
    ("video", "source"),
    [
        ("charades/a.mp4", "charades"),
        ("videos/et_instruct_164k/hacs/a.mp4", "hacs"),
        ("videos/a.mp4", "unknown"),
        ("a.mp4", "unknown"),
    ],
)
def test_source_is_the_folder(video, source):
    assert row_fields.source_of(video) == source
