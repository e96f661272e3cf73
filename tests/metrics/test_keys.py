"""Every key is defined once, with a meaning."""

from museg.metrics.grounding_scores import grounding_scores
from museg.metrics.keys import (
    COLD_START_COLUMNS,
    DASHBOARD_KEYS,
    HELD_OUT_SCORES,
    TRAIN_KEYS,
    columns,
    describe,
    held_out_key,
    reward_key,
)
from museg.training.held_out import EXTRA_SCORES


def test_columns_are_distinct_and_all_described():
    names = columns(["format", "local"])
    assert len(set(names)) == len(names)
    assert all(describe(name).meaning and describe(name).label for name in names)
    assert reward_key("local") in names and held_out_key("sampled", "mean_iou") in names


def test_every_held_out_score_is_defined():
    assert set(grounding_scores([], [])) | set(EXTRA_SCORES) == set(HELD_OUT_SCORES)


def test_dashboards_have_keys_of_their_own():
    assert DASHBOARD_KEYS.keys().isdisjoint(columns([]))
    assert COLD_START_COLUMNS.keys() <= DASHBOARD_KEYS.keys() and set(COLD_START_COLUMNS.values()) <= set(columns([]))
    assert describe("phase").meaning == "number of the step's phase, from 0 in the order of phase.phases"


def test_an_unknown_key_describes_itself():
    assert describe("something/else").label == "something/else"


def test_meanings_are_sentences_not_repeats():
    defined = (*TRAIN_KEYS.values(), *HELD_OUT_SCORES.values(), *DASHBOARD_KEYS.values())
    assert all(key.meaning != key.label for key in defined)
