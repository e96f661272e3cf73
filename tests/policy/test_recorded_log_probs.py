"""Log-probabilities with states: the same as without, and the states are those that engines record."""

from dataclasses import replace

import pytest
import torch

from museg.policy.log_probs import completion_log_probs
from museg.policy.recorded_layers import RecordedLayers
from museg.policy.recorded_log_probs import recorded_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.policy.tiny import build_tiny
from tests.policy.drawn_clips import with_frequent_stops
from tests.policy.test_recorded_layers import TOLERANCE, ragged_batch

LAYERS = RecordedLayers()


@pytest.fixture(scope="module")
def policy():
    return with_frequent_stops(build_tiny(seed=0, num_layers=3))


@pytest.fixture(scope="module")
def batch(policy):
    return ragged_batch(policy)


@pytest.fixture(scope="module")
def generated(policy, batch):
    settings = RolloutSettings(num_generations=1, temperature=1.0, max_new_tokens=9)
    return greedy_rollouts(policy, batch, settings, LAYERS)


def test_log_probs_are_those_without_states(policy, batch, generated):
    inputs = batch, generated.completion_ids, generated.completion_mask
    found = recorded_log_probs(policy, *inputs, LAYERS).log_probs
    torch.testing.assert_close(found, completion_log_probs(policy, *inputs, 1), **TOLERANCE)


def test_states_are_those_recorded_while_generating(policy, batch, generated):
    mask = generated.completion_mask
    found = recorded_log_probs(policy, batch, generated.completion_ids, mask, LAYERS)
    torch.testing.assert_close(found.token_states[mask], generated.token_states[mask], **TOLERANCE)
    torch.testing.assert_close(found.frame_states, generated.frame_states, **TOLERANCE)
    assert len(found.frame_states) == 28  # 18, 4 and 6 tokens of video


def test_gradients_go_through_both_layers(policy, batch, generated):
    layers = policy.model.model.language_model.layers
    inputs = generated.completion_ids, generated.completion_mask

    def layers_reached(pick) -> list[bool]:
        policy.model.zero_grad()
        pick(recorded_log_probs(policy, batch, *inputs, LAYERS)).square().sum().backward()
        return [layer.mlp.up_proj.weight.grad is not None for layer in layers]

    assert layers_reached(lambda found: found.frame_states) == [True, True, True]
    assert layers_reached(lambda found: found.token_states) == [True, True, False]  # -2 lies before the last layer


def test_both_heads_may_read_one_layer(policy, batch, generated):
    inputs = batch, generated.completion_ids, generated.completion_mask
    one = recorded_log_probs(policy, *inputs, RecordedLayers(-2, -2))
    other = recorded_log_probs(policy, *inputs, LAYERS)
    assert torch.equal(one.token_states, other.token_states)
    assert not torch.allclose(one.frame_states, other.frame_states, atol=1e-3)


def test_other_numbers_of_completions_are_refused(policy, batch, generated):
    alone = replace(generated, completion_ids=generated.completion_ids[:2])
    with pytest.raises(ValueError, match="2 completions for 3 prompts"):
        recorded_log_probs(policy, batch, alone.completion_ids, generated.completion_mask[:2], LAYERS)
