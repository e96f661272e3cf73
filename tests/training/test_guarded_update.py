"""A step whose loss or gradient is not finite is refused: it says where that happened, and leaves the weights alone."""

import pytest
import torch

from museg.training.guarded_update import NonFiniteStep
from museg.training.museg_module import MusegModule
from tests.training.small_fits import copied_weights, fit, step_batch
from tests.training.test_museg_module import length_job, museg_module

EXAMPLE_IDS = "drawn:0, drawn:1, drawn:2"


@pytest.fixture
def module(outputs) -> MusegModule:
    return museg_module(length_job(outputs, "optimizer.warmup_steps=0"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_its_step_and_examples(module, value):
    with torch.no_grad():
        module.model.lm_head.weight[5, 3] = value
    before = copied_weights(module)
    with pytest.raises(NonFiniteStep, match=f"the loss is not finite at step 1, examples {EXAMPLE_IDS}"):
        fit(module, [step_batch(1)])
    after = copied_weights(module)
    assert all(torch.equal(after[name].nan_to_num(7.0), before[name].nan_to_num(7.0)) for name in before)
    assert module.steps_done == 0


def test_a_gradient_that_is_not_finite_stops_before_it_is_used(module):
    module.model.model.language_model.norm.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = copied_weights(module)
    with pytest.raises(NonFiniteStep, match=f"the gradient is not finite at step 0, examples {EXAMPLE_IDS}"):
        fit(module, [step_batch(0)])
    assert all(torch.equal(weight, before[name]) for name, weight in copied_weights(module).items())
