"""MeCo's localization against recorded outputs of its released tools, and the scores that rest on it.

Source: pangzss/MeCo d3ed11b, tools/compute_metrics.py and tools/compute_metrics_charades_qvh.py.
"""

import json
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from museg.meco.answers import moment_text, ranges_text, released_highlight_time_s
from museg.meco.localization import PROBABILITY, LocalizationSettings, Run, ScoredSegment, locate, scored_segments
from museg.meco.saliency import event_saliency
from museg.meco.structure import Kind, event_captions
from museg.metrics.caption_scores import CaptionScorer, readable
from museg.metrics.et_bench_summary import TASK_SCORES, merged, per_task
from museg.metrics.et_bench_tables import official_table
from museg.metrics.meco_et_bench import MecoDenseCaptionTable, MecoGroundedChoiceTable, MecoRangeChoiceTable
from museg.metrics.sample_table import SampleTable
from museg.metrics.window_scores import windows_of
from tests.metrics.stand_ins import WordOverlap, real_meteor
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


# ---- scores


@pytest.fixture(scope="module")
def captions() -> CaptionScorer:
    """METEOR is real, tokens and similarity are the recorded ones."""
    return CaptionScorer(WordOverlap(), recorded_tokens, real_meteor())


def recorded_tokens(texts: Sequence[str]) -> list[str]:
    """The published tokenizer's output, by the caption as it was given; other texts are words of letters."""
    known = {readable(raw): tokens for raw, tokens in record()["ptb_tokens"].items()}
    return [known.get(text, text) for text in texts]


def similarity(text: str, options: Sequence[str]) -> list[float]:
    return [float(WordOverlap.between(text, option)) for option in options]


def empty_table(task: str, captions: CaptionScorer) -> SampleTable:
    if task == "eca":
        return MecoRangeChoiceTable()
    if task == "gvq":
        return MecoGroundedChoiceTable(similarity)
    if task in ("dvc", "slc"):
        return MecoDenseCaptionTable(captions)
    return official_table(task)


def add(table: SampleTable, position: int, sample: dict) -> None:
    """Enter what the released tool finds: as text where the benchmark's own table is the same rule."""
    task = sample["task"]
    runs, found = located(sample)
    segments = [scored.segment for scored in found]
    if task == "eca":
        table.update(position, segments, sample)
    elif task == "gvq":
        table.update(position, sample["a"], sample, segments)
    elif task in ("dvc", "slc"):
        of_events = event_captions(sample["a"], official=True)
        chosen = [of_events[number] for number in event_numbers(sample, found)]
        table.update(position, list(zip(segments, chosen, strict=True)), sample)
    elif task == "vhd":
        table.update(position, moment_text(released_highlight_time_s(found, runs, PER_SECOND)), sample)
    else:
        table.update(position, ranges_text(segments), sample)


def scores(task: str, samples: Sequence[dict], captions: CaptionScorer) -> dict[str, float]:
    table = empty_table(task, captions)
    for position, sample in enumerate(samples):
        add(table, position, sample)
    return table.compute()


@pytest.mark.parametrize("task", TASKS)
def test_recorded_cases(task, captions):
    for case in record()["meco_etbench"][task]["cases"]:
        if "error" in case["out"]:  # dense captions without a run stop the tool, or repeat the count of another video
            assert task in ("dvc", "slc") and not case["boundaries"]
            continue
        found = scores(task, [case["sample"]], captions)
        assert list(found) == list(case["out"])
        assert found == pytest.approx(case["out"], abs=1e-9), case["sample"]


@pytest.mark.parametrize("task", TASKS)
def test_recorded_groups(task, captions):
    part = record()["meco_etbench"][task]
    assert len(part["groups"]) == 1
    for group in part["groups"]:
        samples = [part["cases"][index]["sample"] for index in group["members"]]
        assert scores(task, samples, captions) == pytest.approx(group["out"], abs=1e-9)


@pytest.mark.parametrize("task", ["dvc", "slc"])
def test_recorded_captions(task):
    for case in record()["meco_etbench"][task]["cases"]:
        _, found = located(case["sample"])
        of_events = event_captions(case["sample"]["a"], official=True)
        assert [of_events[number] for number in event_numbers(case["sample"], found)] == case["captions"]


def test_recorded_whole_run(captions):
    whole = record()["meco_whole"]
    per_source: dict[str, dict] = {}
    for task, indices in whole["members"].items():
        by_source: dict[str, list[dict]] = {}
        for index in indices:
            sample = record()["meco_etbench"][task]["cases"][index]["sample"]
            by_source.setdefault(sample["source"], []).append(sample)
        per_source[task] = {source: scores(task, samples, captions) for source, samples in by_source.items()}
    assert per_source.keys() == whole["per_source"].keys()
    for task, by_source in whole["per_source"].items():
        assert per_source[task].keys() == by_source.keys()
        for source, out in by_source.items():
            assert per_source[task][source] == pytest.approx(out, abs=1e-9), (task, source)
    found = per_task(per_source)
    for task, value in whole["per_task"].items():
        columns = [column for column, (name, _) in TASK_SCORES.items() if name == task]
        assert [found[column] for column in columns] == pytest.approx(np.atleast_1d(value).tolist(), abs=1e-9), task
    # the tool has no referring tasks, and no column for them
    printed = {name: str(round(value, 1)) for name, value in merged(found).items() if value is not None}
    assert printed == whole["merged"]
