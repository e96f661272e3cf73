"""MeCo's localization against recorded outputs of its released tools, and the scores that rest on it.

Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py and tools/compute_metrics_charades_qvh.py.
"""

import json
from functools import cache

import numpy as np
import pytest

from museg.meco.localization import PROBABILITY, LocalizationSettings, Run, ScoredSegment, locate, scored_segments
from museg.meco.saliency import event_saliency
from museg.meco.structure import Kind
from museg.metrics.window_scores import windows_of
from tests.shared import ORACLES, require

TASKS = ("tvg", "epm", "tal", "evs", "vhd", "dvc", "slc", "tem", "gvq", "eca")
PER_SECOND = 1.0
"""The released model sees one frame a second and takes its number for a time."""


@cache
def record() -> dict:
    return json.loads(require(ORACLES / "etbench_metrics.json").read_text("utf-8"))


def kinds_of(sample: dict) -> list[Kind]:
    """Kinds in the order in which the tokens were generated; the record keeps their places in the text."""
    places = [(place, Kind.EVENT) for place in sample["ent_inds"]]
    places += [(place, Kind.TRANSITION) for place in sample["tst_inds"]]
    return [kind for _, kind in sorted(places)]


def located(sample: dict, **settings) -> tuple[list[list[Run]], list[ScoredSegment]]:
    chosen = LocalizationSettings(official=True, **settings)
    runs = locate(sample["vl_sims"], kinds_of(sample), sample["scale"], chosen)
    return runs, scored_segments(runs, PER_SECOND, chosen)


def boundaries(found: list[ScoredSegment]) -> list[list[float]]:
    return [list(scored.segment) for scored in found]


def event_numbers(sample: dict, found: list[ScoredSegment]) -> list[int]:
    """For each run the number of its token among the events."""
    rows = [row for row, kind in enumerate(kinds_of(sample)) if kind is Kind.EVENT]
    return [rows.index(scored.row) for scored in found]


def cases() -> list[dict]:
    return record()["meco_get_boundaries"]


def test_recorded_boundaries():
    assert len(cases()) == 200
    for number, case in enumerate(cases()):
        sample, expected = case["input"], case["etbench"]
        runs, found = located(sample, threshold=case["th"], suppression_iou=case["nms_th"])
        assert boundaries(found) == expected["boundaries"], number
        assert event_numbers(sample, found) == expected["token_index"], number
        # the cosines of every run, before any is suppressed
        steps = [
            np.asarray(sample["vl_sims"][row])[run.first_step : run.last_step + 1].tolist()
            for row, of_token in enumerate(runs)
            for run in of_token
        ]
        assert steps == expected["confidence_prenms"], number
        assert [run.score for of_token in runs for run in of_token] == pytest.approx(list(map(max, steps)), abs=1e-6)


@pytest.mark.parametrize(
    ("dataset", "settings", "num_without_window"),
    [("charades", {}, 7), ("qvhighlights", {"competition": False, "dilation_steps": 0}, 4)],
)
def test_recorded_windows_and_saliency(dataset, settings, num_without_window):
    """The tool takes 0.7 for the threshold whatever it is told, and for QVHighlights lets no token compete."""
    num_fallbacks = 0
    for number, case in enumerate(cases()):
        sample, expected = case["input"], case[dataset]
        _, found = located(sample, score=PROBABILITY, suppression_iou=case["nms_th"], **settings)
        windows = [(*scored.segment, scored.score) for scored in found]
        saliency = event_saliency(sample["vl_sims"], kinds_of(sample), sample["scale"])
        if not windows:  # the released stand-in for no window: the whole video, salient everywhere
            num_fallbacks += 1
            windows, saliency = windows_of((), sample["duration"]), np.ones(int(sample["duration"]))
        assert len(windows) == len(expected["windows"])
        for window, recorded in zip(windows, expected["windows"], strict=True):
            assert window[:2] == tuple(recorded[:2]), number
            assert window[2] == pytest.approx(recorded[2], abs=1e-6), number
        assert saliency == pytest.approx(expected["saliency"], abs=1e-6), number
    assert num_fallbacks == num_without_window


@pytest.mark.parametrize("task", TASKS)
def test_recorded_boundaries_of_tasks(task):
    recorded = record()["meco_etbench"][task]["cases"]
    assert len(recorded) == 40
    for case in recorded:
        _, found = located(case["sample"])
        assert boundaries(found) == case["boundaries"]
        assert event_numbers(case["sample"], found) == case["token_of_boundary"]
