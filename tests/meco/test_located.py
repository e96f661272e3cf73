"""From states to segments: what an answer's events cover, and what of that a question asks for."""

import pytest
import torch

from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings
from museg.meco.located import asked_segments, located
from museg.meco.sample_states import SampleStates
from museg.meco.structure import Kind
from museg.temporal.segments import Segment

WHOLE_STEPS = LocalizationSettings(dilation_steps=0, include_last_step=True)


class AsTheyAre(AlignmentHeads):
    """Heads that pass unit vectors through."""

    def tokens(self, states):
        return states

    def frames(self, states):
        return states


def sample(kinds: str, tokens: list[list[float]], steps: list[list[float]]) -> SampleStates:
    wanted = tuple({"e": Kind.EVENT, "t": Kind.TRANSITION}[kind] for kind in kinds)
    return SampleStates(wanted, torch.tensor(tokens).reshape(-1, 2), torch.tensor(steps).reshape(-1, 2))


X, Y = [1.0, 0.0], [0.0, 1.0]
SAMPLES = [
    sample("tee", [Y, X, X], [X, Y, Y, X]),  # both events lie in the first and in the last step
    sample("", [], [X, Y]),  # no structural token
    sample("e", [X], []),  # a picture
    sample("t", [X], [X, Y]),
]


def found():
    return located(AsTheyAre(2), SAMPLES, [2.0, 1.0, 0.0, 1.0], [3.5, 2.0, 0.5, 2.0], WHOLE_STEPS)


def test_rows_and_segments_of_each_answer():
    first, *others = found()
    assert first.rows.tolist() == [[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1]]
    assert first.scale == pytest.approx(1 / 0.07) and first.seconds_per_step == 2.0
    # four runs, of which those of the second event fall to those of the first; half of the last step is video
    assert [(one.segment, one.row) for one in first.segments] == [(Segment(0.0, 2.0), 1), (Segment(6.0, 7.0), 1)]
    assert [(one.kinds, one.segments) for one in others] == [((), ()), ((Kind.EVENT,), ()), ((Kind.TRANSITION,), ())]


def test_some_questions_ask_for_one_segment():
    segments = found()[0].segments[::-1]
    assert asked_segments(segments, "tvg") == (Segment(6.0, 7.0),)
    assert asked_segments(segments, "tal") == (Segment(0.0, 2.0), Segment(6.0, 7.0))
    assert asked_segments((), "tvg") == ()
