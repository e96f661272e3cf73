"""The model below an adapter: which one a run goes on with, and what it says when that is another."""

import json

import pytest
import torch

from museg.policy.adapter import adapter_weights
from museg.policy.tiny import build_tiny
from museg.training.base_model import put_adapter_on
from tests.policy.adapted_policy import lora


def small_policy(seed=0, rank=4):
    sizes = {"hidden_size": 48, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
    return build_tiny(**sizes, seed=seed, lora=lora(rank=rank))


def base_weights(policy) -> dict:
    return {name: weight for name, weight in policy.model.state_dict().items() if ".lora_" not in name}


def begin(policy, run_dir, *, is_made_here):
    put_adapter_on(policy, run_dir, 3, is_resumed=False, is_made_here=is_made_here)


def go_on(policy, run_dir, *, is_made_here):
    put_adapter_on(policy, run_dir, 3, is_resumed=True, is_made_here=is_made_here)


def test_without_an_adapter_nothing_happens(tmp_path):
    policy = small_policy(rank=0)
    begin(policy, tmp_path, is_made_here=True)
    assert not list(tmp_path.iterdir()) and not adapter_weights(policy.model)


def test_of_a_model_from_elsewhere_only_the_digest_is_kept(tmp_path):
    first, again = small_policy(), small_policy()
    begin(first, tmp_path, is_made_here=False)
    assert [file.name for file in (tmp_path / "base").iterdir()] == ["base.json"]
    go_on(again, tmp_path, is_made_here=False)
    weights = again.model.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in first.model.state_dict().items())


def test_a_model_that_was_made_here_comes_back(tmp_path):
    first, other = small_policy(seed=0), small_policy(seed=1)
    begin(first, tmp_path, is_made_here=True)
    go_on(other, tmp_path, is_made_here=True)
    weights = base_weights(other)
    assert all(torch.equal(weight, weights[name]) for name, weight in base_weights(first).items())


@pytest.mark.parametrize("place", ["lm_head", "model.visual.merger.ln_q"])
def test_another_model_is_refused(tmp_path, place):
    begin(small_policy(), tmp_path, is_made_here=False)
    changed = small_policy()
    weight = changed.model.get_submodule(place).weight
    weight.data[(0,) * weight.ndim] += 1e-3
    with pytest.raises(ValueError, match=r"on another model.*SHA-256 [0-9a-f]{12}.*Put the original model back"):
        go_on(changed, tmp_path, is_made_here=False)
    assert not adapter_weights(changed.model)


def test_a_run_that_has_no_checkpoint_yet_begins_anew(tmp_path):
    begin(small_policy(seed=0), tmp_path, is_made_here=True)
    begin(small_policy(seed=1), tmp_path, is_made_here=True)
    go_on(small_policy(seed=0), tmp_path, is_made_here=True)  # on the second one's weights
    digest = json.loads((tmp_path / "base" / "base.json").read_text())["weights_sha256"]
    assert len(digest) == 64


@pytest.mark.parametrize("file", ["base.json", "model.safetensors"])
def test_what_is_gone_is_told(tmp_path, file):
    begin(small_policy(), tmp_path, is_made_here=True)
    (tmp_path / "base" / file).unlink()
    with pytest.raises(ValueError, match=rf"base/{file} is not there.*Put it back, or start a new run"):
        go_on(small_policy(), tmp_path, is_made_here=True)
