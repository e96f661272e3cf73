"""The benchmark's sides agree, and a side that does not is noticed."""

import pytest
import torch

from tests.benchmarks import log_probs
from tests.benchmarks.measure import Shape, peak_here_mib

SHAPE = Shape.read("160x6x3")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same model, but for its size."""
    sizes = {"hidden_size": 32, "num_layers": 2, "intermediate_size": 32, "vision_hidden_size": 32, "vision_depth": 2}
    monkeypatch.setattr(log_probs, "SIZES", log_probs.SIZES | sizes | {"vocab_size": 1000})


def test_inputs_have_the_asked_shape():
    policy, _ = log_probs.made_models()
    batch, ids, mask, num_generations = log_probs.made_inputs(policy, SHAPE)
    assert batch.input_ids.shape == (1, 160) and ids.shape == mask.shape == (3, 6) and num_generations == 3
    # two steps of 48 tokens leave 64 for the text; one more step would not
    assert int((batch.input_ids == policy.ids.video_id).sum()) == 2 * 48
    assert batch.pixel_values_videos.shape == (2 * 12 * 16, 1176)


def test_all_sides_are_measured_and_agree():
    found = log_probs.measured_s(SHAPE, 2)
    assert found.keys() == {"wall_s", "processor_s"}
    for sides in found.values():
        assert sides.keys() == {"released", "plain", "shared"}
        assert all(len(runs) == 2 and min(runs) > 0 for runs in sides.values())


def test_a_side_that_disagrees_is_noticed(monkeypatch):
    shifted = {"shared": lambda *inputs: log_probs.SIDES["plain"](*inputs) + 1e-3}
    monkeypatch.setattr(log_probs, "SIDES", log_probs.SIDES | shifted)
    with pytest.raises(SystemExit, match=r"shared at 160x6x3: log-probabilities are 0\.00"):
        log_probs.measured_s(SHAPE, 1)


def test_the_peak_is_that_of_the_work(monkeypatch):
    """A side that holds 64 MiB for a moment is seen to."""

    def holding(policy, batch, ids, mask, num_generations):
        torch.ones(16 * 2**20).sum()
        return log_probs.SIDES["shared"](policy, batch, ids, mask, num_generations)

    monkeypatch.setattr(log_probs, "SIDES", log_probs.SIDES | {"holding": holding})
    assert peak_here_mib(log_probs.prepared("holding", SHAPE)) > 60
