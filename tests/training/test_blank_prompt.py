"""A blank clip is read like any other, or, where features are known, without the vision tower."""

import pytest

from museg.policy.log_probs import completion_log_probs
from museg.policy.tiny import build_tiny
from museg.training.blank_prompt import blank_inputs


@pytest.mark.parametrize("has_features", [False, True])
def test_it_is_read_with_and_without_the_tower(has_features):
    policy, seen = build_tiny(seed=0), []
    policy.model.model.visual.register_forward_hook(lambda *_: seen.append("tower"))
    inputs = blank_inputs(policy, policy.device, 512, has_features=has_features)
    # one step in time of 28 x 28 pixels: one merged token; the completion says nothing but its end
    assert int((inputs[0].input_ids == policy.ids.video_id).sum()) == 1 and inputs[1].shape == (1, 1)
    assert completion_log_probs(policy, *inputs, 1).isfinite().all()
    assert bool(seen) != has_features
