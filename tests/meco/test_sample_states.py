"""States of a batch taken apart: which belong to which sample, token and step."""

import pytest
import torch

from museg.meco.alignment import AlignmentHeads
from museg.meco.sample_states import sample_states, similarity_rows
from museg.meco.structure import Kind
from museg.meco.tokens import StructuralIds

IDS = StructuralIds(event_id=10, transition_id=11)
MERGE = 2
GRIDS = [(2, 2, 4), None, (3, 2, 2)]
"""Patches: two steps of two merged tokens; a picture; three steps of one token."""
COMPLETIONS = torch.tensor([[11, 5, 10, 2, 10], [1, 2, 0, 0, 0], [10, 10, 11, 2, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])
"""The last token of the first row stands behind its end."""


def states():
    """Token c of row r has state (r, c), video token v has (v, v)."""
    rows, places = torch.meshgrid(torch.arange(3.0), torch.arange(5.0), indexing="ij")
    return torch.stack([rows, places], dim=-1), torch.arange(7.0)[:, None].expand(7, 2)


def taken_apart(grids=GRIDS):
    return sample_states(IDS, COMPLETIONS, MASK, *states(), grids, MERGE)


def test_every_token_has_its_kind_and_the_state_that_predicts_it():
    samples = taken_apart()
    event, transition = Kind.EVENT, Kind.TRANSITION
    assert [sample.kinds for sample in samples] == [(transition, event), (), (event, event, transition)]
    assert samples[0].tokens.tolist() == [[0, 0], [0, 2]]  # a first token has the state at the prompt's end
    assert samples[2].tokens.tolist() == [[2, 0], [2, 1], [2, 2]]


def test_steps_are_means_of_their_own_tokens():
    samples = taken_apart()
    assert samples[0].steps[:, 0].tolist() == [0.5, 2.5]  # tokens 0 and 1, then 2 and 3
    assert samples[1].steps.shape == (0, 2)
    assert samples[2].steps[:, 0].tolist() == [4, 5, 6]


def test_order_inside_a_step_does_not_matter_and_order_of_steps_does():
    tokens, frames = states()

    def steps(order):
        return sample_states(IDS, COMPLETIONS, MASK, tokens, frames[order], GRIDS, MERGE)[0].steps[:, 0].tolist()

    assert steps([1, 0, 3, 2, 4, 5, 6]) == [0.5, 2.5]
    assert steps([2, 3, 0, 1, 4, 5, 6]) == [2.5, 0.5]


def test_rows_have_the_shape_of_their_sample():
    heads = AlignmentHeads(2)
    rows, scale = similarity_rows(heads, taken_apart())
    assert [tuple(row.shape) for row in rows] == [(2, 2), (0, 0), (3, 3)]
    assert float(scale) == pytest.approx(1 / 0.07)


def test_grids_of_another_batch_are_refused():
    with pytest.raises(ValueError, match="7 video tokens for grids that have 6"):
        taken_apart([GRIDS[0], None, (2, 2, 2)])
