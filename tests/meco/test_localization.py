import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from museg.meco.localization import PROBABILITY, LocalizationSettings, Run, locate, scored_segments, step_probabilities
from museg.meco.structure import Kind, Span, span_targets
from museg.temporal.segments import Segment, iou
from tests.temporal.drawn_segments import segment_lists

EVENT, TRANSITION = Kind.EVENT, Kind.TRANSITION
SCALE = 10.0
PLAIN = {"competition": False, "dilation_steps": 0}


def steps_of(runs: list[Run]) -> list[tuple[int, int]]:
    return [(run.first_step, run.last_step) for run in runs]


def located(rows, kinds=None, **settings) -> list[list[tuple[int, int]]]:
    kinds = kinds or [EVENT] * len(rows)
    return [steps_of(runs) for runs in locate(rows, kinds, SCALE, LocalizationSettings(**settings))]


# ---- rows to runs


def test_runs_are_what_is_above_the_threshold_of_the_stretched_row():
    # stretched: 0, 0.7, 0.8, 0, 1, 0; 0.7 is not above 0.7
    row = [0.0, 0.7, 0.8, 0.0, 1.0, 0.0]
    assert located([row], **PLAIN) == [[(2, 2), (4, 4)]]
    assert located([row], threshold=0.6, **PLAIN) == [[(1, 2), (4, 4)]]
    # moved and scaled rows say the same
    assert located([[-0.5 + value / 4 for value in row]], threshold=0.6, **PLAIN) == [[(1, 2), (4, 4)]]


def test_a_run_knows_its_score_and_its_peak():
    ((run,),) = locate([[0.0, 0.5, 0.6, 0.5, 0.0]], [EVENT], SCALE, LocalizationSettings(**PLAIN))
    assert run == Run(first_step=1, last_step=3, score=0.6, peak_step=2)
    ((run,),) = locate([[0.0, 0.5, 0.6, 0.5, 0.0]], [EVENT], SCALE, LocalizationSettings(score=PROBABILITY, **PLAIN))
    weights = [math.exp(SCALE * cosine) for cosine in (0.0, 0.5, 0.6, 0.5, 0.0)]
    assert run.score == pytest.approx(weights[2] / sum(weights))


def test_the_more_probable_token_takes_a_step():
    # both are above 0.7 of their own range at steps 1 and 2; the second is more sure of step 2
    rows = [[0.0, 0.9, 0.8, 0.0], [0.0, 0.8, 0.9, 0.0]]
    assert located(rows, dilation_steps=0) == [[(1, 1)], [(2, 2)]]
    assert located(rows, [EVENT, TRANSITION], dilation_steps=0) == [[(1, 1)], []]
    assert located(rows, **PLAIN) == [[(1, 2)], [(1, 2)]]
    # at equal probability both keep it
    assert located([rows[0], rows[0]], dilation_steps=0) == [[(1, 2)], [(1, 2)]]


def test_probabilities_compete_and_not_cosines():
    # at step 1 the second row is higher, but spread over the video: 1 / 4 there, against nearly 1
    rows = [[0.0, 0.9, 0.0, 0.0], [0.95, 0.95, 0.95, 0.95]]
    assert located(rows, [EVENT, TRANSITION], dilation_steps=0) == [[(1, 1)], []]


def test_runs_grow_after_the_competition():
    rows = [[0.0, 0.9, 0.8, 0.0, 0.0], [0.0, 0.8, 0.9, 0.0, 0.0]]
    assert located(rows) == [[(0, 2)], [(1, 3)]]
    assert located(rows, dilation_steps=9) == [[(0, 4)], [(0, 4)]]
    # two runs that grow together are one
    assert located([[0.0, 1.0, 0.0, 1.0, 0.0, 0.0]], competition=False) == [[(0, 4)]]


def test_rows_without_runs():
    nan, inf = math.nan, math.inf
    rows = [[0.5, 0.5], [nan, 1.0], [inf, 0.0], [-inf, 0.0], [0.0, 1.0]]
    # the last one wins its step although others hold no numbers
    assert located(rows, dilation_steps=0) == [[], [], [], [], [(1, 1)]]
    assert located([[0.3]]) == [[]]  # one step has no range
    assert locate([], [], SCALE) == []


def test_rows_must_fit_the_tokens():
    for rows in ([[0.0, 1.0]], [0.0, 1.0], [[], []]):
        with pytest.raises(ValueError, match="a row for each of the 2 structural tokens"):
            locate(rows, [EVENT, EVENT], SCALE)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("threshold", 1.0), ("threshold", math.nan), ("dilation_steps", -1), ("suppression_iou", 0.0), ("score", "sum")],
)
def test_settings_are_checked(setting, value):
    with pytest.raises(ValueError, match=setting):
        LocalizationSettings(**{setting: value})


def by_the_book(rows, kinds, settings):
    """The rule of `locate`, step by step and token by token."""
    table = [[float(value) for value in row] for row in rows]
    sums = [sum(math.exp(SCALE * value) for value in row) for row in table]
    found = []
    for index, row in enumerate(table):
        inside = set()
        for step, cosine in enumerate(row):
            if kinds[index] is TRANSITION or max(row) == min(row):
                continue
            others = [
                math.exp(SCALE * other[step]) / total
                for place, (other, total) in enumerate(zip(table, sums, strict=True))
                if place != index
            ]
            is_most_probable = all(math.exp(SCALE * cosine) / sums[index] >= value for value in others)
            is_high = (cosine - min(row)) / (max(row) - min(row)) > settings.threshold
            if is_high and (is_most_probable or not settings.competition):
                inside |= set(range(step - settings.dilation_steps, step + settings.dilation_steps + 1))
        inside &= set(range(len(row)))
        starts = sorted(step for step in inside if step - 1 not in inside)
        ends = sorted(step for step in inside if step + 1 not in inside)
        found.append(list(zip(starts, ends, strict=True)))
    return found


TABLES = st.tuples(st.integers(1, 5), st.integers(1, 12)).flatmap(
    # eighths are exact, and unlike rows differ by more than rounding
    lambda shape: arrays(np.float64, shape, elements=st.integers(-8, 8).map(lambda eighths: eighths / 8))
)


@given(TABLES, st.data(), st.sampled_from([0.0, 0.3, 0.7]), st.booleans(), st.integers(0, 3))
def test_runs_by_the_book(rows, data, threshold, competition, dilation_steps):
    kinds = data.draw(st.lists(st.sampled_from(Kind), min_size=len(rows), max_size=len(rows)))
    settings = LocalizationSettings(threshold=threshold, competition=competition, dilation_steps=dilation_steps)
    ties = competition and any(
        sorted(one) == sorted(other) for place, one in enumerate(rows.tolist()) for other in rows.tolist()[:place]
    )
    if not ties:  # the same values in another order add up to another float: who wins a tie is not said
        assert [steps_of(runs) for runs in locate(rows, kinds, SCALE, settings)] == by_the_book(rows, kinds, settings)


@given(TABLES, st.data())
def test_the_order_of_tokens_does_not_matter(rows, data):
    settings = LocalizationSettings()
    order = data.draw(st.permutations(range(len(rows))))
    plain = locate(rows, [EVENT] * len(rows), SCALE, settings)
    assert locate(rows[order], [EVENT] * len(rows), SCALE, settings) == [plain[place] for place in order]


def test_probabilities_are_of_the_steps():
    probabilities = step_probabilities(np.array([[0.0, math.log(3.0)], [700.0, 0.0]]), 1.0)
    assert probabilities == pytest.approx(np.array([[0.25, 0.75], [1.0, 0.0]]))


# ---- runs to segments


def run(first_step: int, last_step: int, score: float) -> Run:
    return Run(first_step, last_step, score, first_step)


def test_segments_are_in_seconds_and_best_first():
    found = scored_segments([[run(2, 5, 0.3)], [], [run(0, 1, 0.2), run(8, 9, 0.9)]], 0.5)
    assert [(scored.segment, scored.score, scored.row) for scored in found] == [
        ((4.0, 4.5), 0.9, 2),
        ((1.0, 2.5), 0.3, 0),
        ((0.0, 0.5), 0.2, 2),
    ]
    assert found[0].run == run(8, 9, 0.9)
    assert scored_segments([[], []], 0.5) == scored_segments([], 0.5) == []


def test_where_a_segment_ends():
    runs = [[run(2, 5, 0.9), run(8, 8, 0.8)]]
    ends_s = [scored.segment for scored in scored_segments(runs, 2.0)]
    assert ends_s == [(4.0, 10.0), (16.0, 18.0)]  # the start of step 5; a single step has its length
    ends_s = [scored.segment for scored in scored_segments(runs, 2.0, LocalizationSettings(include_last_step=True))]
    assert ends_s == [(4.0, 12.0), (16.0, 18.0)]


def test_no_segment_outlasts_the_video():
    # 13 frames, one a second, in 7 steps of 2 s
    runs = [[run(5, 6, 0.9)], [run(6, 6, 0.8)], [run(1, 3, 0.7)]]
    whole = LocalizationSettings(include_last_step=True)
    ends_s = [scored.segment for scored in scored_segments(runs, 2.0, whole, filled_steps=6.5)]
    assert ends_s == [(10.0, 13.0), (12.0, 13.0), (2.0, 8.0)]
    released = LocalizationSettings(include_last_step=True, official=True)
    ends_s = [scored.segment for scored in scored_segments(runs, 2.0, released, filled_steps=6.5)]
    assert ends_s == [(10.0, 14.0), (12.0, 14.0), (2.0, 8.0)]


def test_runs_of_different_tokens_suppress_each_other():
    # edges 0-10 and 0-7: IoU 0.7
    runs = [[run(0, 10, 0.5)], [run(0, 7, -0.4)], [run(20, 30, -0.2)]]
    assert [(scored.row, scored.score) for scored in scored_segments(runs, 1.0)] == [(0, 0.5), (2, -0.2)]
    kept_all = LocalizationSettings(suppression_iou=1.5)
    assert [scored.row for scored in scored_segments(runs, 1.0, kept_all)] == [0, 2, 1]
    found = scored_segments(runs, 1.0, LocalizationSettings(official=True))
    assert [(scored.row, scored.score) for scored in found] == [(0, 0.5), (1, 0.0), (2, pytest.approx(-0.2))]


def test_official_computes_in_float32():
    row = np.array([0.0, 0.7, 1.0])
    # 0.7 / 1.0 is above 0.7 in neither; a hair more is seen by float64 alone
    row[1] += 1e-9
    assert located([row], **PLAIN) == [[(1, 2)]]
    assert located([row], official=True, **PLAIN) == [[(2, 2)]]


@given(TABLES, st.sampled_from([0.5, 2 / 3, 1.0, 2.0]), st.booleans(), st.sampled_from([0.3, 0.7]))
def test_segments_of_any_rows(rows, seconds_per_step, include_last_step, suppression_iou):
    settings = LocalizationSettings(include_last_step=include_last_step, suppression_iou=suppression_iou)
    runs = locate(rows, [EVENT] * len(rows), SCALE, settings)
    found = scored_segments(runs, seconds_per_step, settings)
    scores = [scored.score for scored in found]
    assert scores == sorted(scores, reverse=True)
    end_s = rows.shape[1] * seconds_per_step
    assert all(0 <= scored.segment.start_s < scored.segment.end_s <= end_s for scored in found)
    assert all(scored.run in runs[scored.row] for scored in found)
    for place, one in enumerate(found):
        assert all(iou(one.segment, other.segment) < suppression_iou + 1e-9 for other in found[:place])
    # every run is there, or one at least as good overlaps it
    left_out = [one for of_token in runs for one in of_token if one not in [scored.run for scored in found]]
    assert all(any(other.score >= one.score for other in found) for one in left_out)
    assert bool(found) == any(runs)


@given(segment_lists(min_size=1, max_size=1, max_s=18), st.sampled_from([0.5, 1.0, 1.5]), st.booleans())
def test_a_perfect_row_gives_the_window_back(events, seconds_per_step, inclusive_end):
    """Targets and segments that agree about the last step are off by less than a step at either end."""
    num_steps = round(18 / seconds_per_step) + 2
    row = span_targets([Span(EVENT, events[0])], num_steps, seconds_per_step, inclusive_end=inclusive_end)
    settings = LocalizationSettings(include_last_step=not inclusive_end, **PLAIN)
    (found,) = scored_segments(locate(row, [EVENT], SCALE, settings), seconds_per_step, settings)
    if events[0].end_s - events[0].start_s >= seconds_per_step:
        assert found.segment == pytest.approx(events[0], abs=seconds_per_step + 1e-5)
    whole = Segment(3 * seconds_per_step, 7 * seconds_per_step)  # whole steps come back exactly
    row = span_targets([Span(EVENT, whole)], num_steps, seconds_per_step, inclusive_end=inclusive_end)
    (found,) = scored_segments(locate(row, [EVENT], SCALE, settings), seconds_per_step, settings)
    assert found.segment == whole


def test_seconds_per_step_are_checked():
    for seconds_per_step in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="positive number of seconds"):
            scored_segments([[run(0, 1, 0.5)]], seconds_per_step)


def test_a_text_of_tokens_alone_is_cheap():
    # 500 tokens over 384 steps without competition: some 30,000 runs
    rows = np.random.default_rng(0).uniform(-1, 1, (500, 384))
    settings = LocalizationSettings(competition=False, dilation_steps=0)
    begin = time.process_time()
    runs = locate(rows, [EVENT] * 500, SCALE, settings)
    assert sum(map(len, runs)) > 20_000
    found = scored_segments(runs, 1.0, settings)
    assert 0 < len(found) < 3_000  # there are not many different short runs
    assert time.process_time() - begin < 10
