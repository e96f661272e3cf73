"""Shards give what whole weights give, whatever each process asks of them; a tower that is frozen stays whole."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from museg.policy.loading import Policy, freeze
from museg.policy.processing import encode_completions
from museg.policy.rollout import RolloutSettings, sample_rollouts
from museg.policy.shared_prefix import shared_prefix_log_probs
from museg.policy.tiny import build_tiny
from museg.training.sharding import FsdpShards
from tests.policy.drawn_clips import drawn_batch
from tests.walks import process_pairs

SETTINGS = RolloutSettings(num_generations=2, max_new_tokens=4)


def small_policy() -> Policy:
    return build_tiny(seed=0, num_layers=2, hidden_size=48, num_heads=2, intermediate_size=64)


def whole_copy(policy: Policy) -> Policy:
    return Policy(copy.deepcopy(policy.model), policy.tokenizer, policy.ids)


def shards_of(policy: Policy) -> FsdpShards:
    return FsdpShards(policy.model, torch.device("cpu"), torch.float32)


def log_probs_of(policy: Policy) -> Callable[[], Tensor]:
    """The log-probabilities of two completions for each of two prompts."""
    batch, (ids, mask) = drawn_batch(policy, 2), encode_completions(policy, ["a", "look", "", "the red"])
    return lambda: shared_prefix_log_probs(policy, batch, ids, mask, 2)


def sampled_texts(policy: Policy) -> list[str]:
    return sample_rollouts(policy, drawn_batch(policy, 2), SETTINGS, [5, 6]).texts


def check_that_uneven_sampling_hangs_nobody() -> None:
    """Sample in the first process alone, twice; then differentiate in both, as whole weights would be."""
    policy = small_policy()
    whole = whole_copy(policy)
    policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    policy.model.train()
    shards = shards_of(policy)
    for _ in range(2):  # as in the micro-batches of a step
        with shards.gathered():
            assert not isinstance(policy.model.lm_head.weight, DTensor)
            if distributed.get_rank() == 0:
                assert sampled_texts(policy) == sampled_texts(policy) == sampled_texts(whole)
        assert isinstance(policy.model.lm_head.weight, DTensor)
        shards.run(log_probs_of(policy)).sum().backward()
        log_probs_of(whole)().sum().backward()
    for (name, weight), expected in zip(policy.model.named_parameters(), whole.model.parameters(), strict=True):
        assert torch.allclose(weight.grad.full_tensor(), expected.grad, atol=1e-5), name


def check_that_layers_are_gathered_once_for_all_tokens() -> None:
    """Count how often processes gather anything."""
    shards, calls, gather = shards_of(policy := small_policy()), [], distributed.all_gather_single
    distributed.all_gather_single = lambda *args, **options: calls.append(1) or gather(*args, **options)
    with shards.gathered():
        assert len(calls) == 4  # two layers of the decoder, the block of the tower, and all the rest
        sampled_texts(policy)
        sampled_texts(policy)
    assert len(calls) == 4
    with torch.no_grad():
        shards.run(log_probs_of(policy))
    assert len(calls) == 8
    distributed.all_gather_single = gather


def check_that_a_frozen_tower_stays_whole() -> None:
    """Whose features are made where and when a process needs them."""
    policy = small_policy()
    freeze(policy.model, {"vision": True, "projector": True})
    whole = whole_copy(policy)
    shards = shards_of(policy)
    is_sharded = {name: isinstance(weight, DTensor) for name, weight in policy.model.named_parameters()}
    assert all(shard != name.startswith("model.visual.") for name, shard in is_sharded.items())
    shards.run(log_probs_of(policy)).sum().backward()
    log_probs_of(whole)().sum().backward()
    found = policy.model.lm_head.weight.grad.full_tensor()
    assert torch.allclose(found, whole.model.lm_head.weight.grad, atol=1e-5)


def run_checks() -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    check_that_uneven_sampling_hangs_nobody()
    check_that_layers_are_gathered_once_for_all_tokens()
    check_that_a_frozen_tower_stays_whole()
    distributed.destroy_process_group()


@pytest.mark.distributed
def test_shards_of_two_processes():
    assert process_pairs.exit_codes_of(run_checks) == [0, 0]
