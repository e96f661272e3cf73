from hypothesis import given
from hypothesis import strategies as st

from museg.report.sweep_labels import MAX_LABEL_CHARS, MAX_VALUE_CHARS, ONLY, labels, picture_labels

LONG = "/a/shared/file/system/with/a/very/long/beginning/that/every/run/has/and/that/tells/a/reader/nothing/at/all/"
TEXTS = st.builds("{}{}".format, st.sampled_from(["", LONG, 30 * LONG]), st.sampled_from(["", "a", "b", LONG + "c"]))


def test_by_hand():
    assert labels([{"reward": "maximum", "phase.steps": "40"}]) == ["reward=maximum, phase.steps=40"]
    assert labels([{}]) == [ONLY]
    assert labels([]) == []


def test_a_picture_says_no_more_than_it_must():
    assert picture_labels([{"phase.steps": "40"}, {"phase.steps": "80"}], 30) == ["40", "80"]
    one = {"model.path": "x", "dataset.path": "y", "phase.steps": "40"}
    assert picture_labels([one], 60) == ["model.path=x, dataset.path=y, steps=40"]


def test_long_values_show_where_they_part():
    one, other = labels([{"model.path": LONG + name} for name in ("first", "second")])
    assert one.startswith("model.path=…") and one.endswith("/first") and other.endswith("/second")
    assert len(one) < MAX_VALUE_CHARS


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6, unique=True))
def test_no_two_labels_are_alike_and_none_is_long(values):
    found = [{"one": one, "other": other} for one, other in values]
    for told in (labels(found), picture_labels(found, 30)):
        assert len(set(told)) == len(found)
        assert all(len(label) <= MAX_LABEL_CHARS + len(" #6") for label in told)
