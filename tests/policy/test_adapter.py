"""An adapter on a policy: what it changes and leaves, that it can rest, and what it becomes when it is folded in."""

import sys

import pytest
import torch

from museg.policy.adapter import (
    REFERENCE,
    TRAINED,
    acting,
    adapter_weights,
    add,
    attach,
    drawn_from,
    is_of,
    load_adapter,
    load_trained,
    merged,
)
from museg.policy.export import export
from museg.policy.loading import load_checkpoint, load_pretrained
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.tiny import build_tiny
from tests.policy.adapted_policy import adapted, lora, moved
from tests.policy.drawn_clips import drawn_batch


def log_probs(policy):
    ids, mask = encode_completions(policy, ["<answer>2.0-5.0</answer>", "<think>"])
    return completion_log_probs(policy, drawn_batch(policy, 2), ids, mask, 1)


def gradients(policy, **autocast):
    """Of every weight that trains."""
    trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
    with torch.autocast("cpu", torch.bfloat16, **autocast or {"enabled": False}):
        values = log_probs(policy)
    return torch.autograd.grad(values.sum(), trained)


def state_of(model) -> list:
    """Everything that a switch of adapters could leave behind, weights included."""
    return [
        [(name, weight.requires_grad, weight.grad, weight.clone()) for name, weight in model.named_parameters()],
        [(name, module.training, len(module._forward_hooks)) for name, module in model.named_modules()],
        [
            (layer.active_adapters, layer.disable_adapters, layer.merged)
            for layer in model.modules()
            if hasattr(layer, "lora_A")
        ],
        torch.is_grad_enabled(),
        torch.get_rng_state(),
    ]


def assert_same_state(model, before) -> None:
    found = state_of(model)
    for ours, theirs in zip(found[0], before[0], strict=True):
        assert ours[:3] == theirs[:3] and torch.equal(ours[3], theirs[3])
    assert found[1:4] == before[1:4] and torch.equal(found[4], before[4])


def test_it_begins_by_changing_nothing(own_policy):
    own_policy.lora = lora()
    with torch.no_grad():
        before, drawn = log_probs(own_policy), torch.get_rng_state()
        names, kind = set(own_policy.model.state_dict()), type(own_policy.model)
        attach(own_policy, seed=0)
        assert torch.equal(log_probs(own_policy), before)
    assert torch.equal(torch.get_rng_state(), drawn) and type(own_policy.model) is kind
    added = [name for name in own_policy.model.state_dict() if name.replace(".base_layer", "") not in names]
    assert added and all(".language_model.layers." in name for name in added)  # the tower has some of the same names
    trained = {name for name, weight in own_policy.model.named_parameters() if weight.requires_grad}
    assert trained == set(added)


def test_it_depends_on_its_seed_alone():
    first, again, other = (build_tiny(seed=0, lora=lora()) for _ in range(3))
    for policy, seed in ((first, 1), (again, 1), (other, 2)):
        torch.rand(seed)  # what was drawn before
        attach(policy, seed)
    weights = [adapter_weights(policy.model) for policy in (first, again, other)]
    assert all(weight.equal(weights[1][name]) for name, weight in weights[0].items())
    assert not any(weight.equal(weights[2][name]) for name, weight in weights[0].items() if "lora_A" in name)


def test_rank_0_is_none():
    assert build_tiny(seed=0, lora=lora(rank=0)).lora is None


@pytest.mark.parametrize("adapter", [None, REFERENCE])
@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_of_another_acting(own_policy, adapter, fails):
    adapted(own_policy)
    add(own_policy, REFERENCE)
    own_policy.model.train()
    with torch.no_grad():
        before, values = state_of(own_policy.model), log_probs(own_policy)
        try:
            with acting(own_policy.model, adapter):
                assert not torch.equal(log_probs(own_policy), values)
                assert not any(weight.requires_grad for weight in own_policy.model.parameters())
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert fails
        assert torch.equal(log_probs(own_policy), values)
        assert_same_state(own_policy.model, before)


def test_one_may_act_within_another(own_policy):
    adapted(own_policy)
    add(own_policy, REFERENCE)
    load_adapter(own_policy.model, adapter_weights(own_policy.model), REFERENCE)
    moved(own_policy, seed=1)
    with torch.no_grad(), acting(own_policy.model, REFERENCE):
        outer = log_probs(own_policy)
        before = state_of(own_policy.model)
        with acting(own_policy.model, None):
            assert not torch.equal(log_probs(own_policy), outer)
        assert_same_state(own_policy.model, before)
        assert torch.equal(log_probs(own_policy), outer)


@pytest.mark.parametrize("adapter", [None, REFERENCE])
def test_a_gradient_may_be_under_way_meanwhile(own_policy, adapter):
    adapted(own_policy)
    add(own_policy, REFERENCE)
    trained = [weight for weight in own_policy.model.parameters() if weight.requires_grad]
    expected = gradients(own_policy)
    values = log_probs(own_policy)
    with acting(own_policy.model, adapter), torch.no_grad():
        log_probs(own_policy)
    values.sum().backward()
    assert all(torch.equal(weight.grad, right) for weight, right in zip(trained, expected, strict=True))
    assert all(weight.grad is None for weight in own_policy.model.parameters() if not weight.requires_grad)


def test_every_part_of_it_learns(own_policy):
    assert all(gradient.norm() > 0 for gradient in gradients(adapted(own_policy)))


def test_weights_go_back_where_they_came_from(own_policy):
    adapted(own_policy)
    kept = {name: weight.clone() for name, weight in adapter_weights(own_policy.model).items()}
    with torch.no_grad():
        before = log_probs(own_policy)
        state = {name: weight.clone() for name, weight in own_policy.model.state_dict().items() if is_of(name, TRAINED)}
        load_adapter(moved(own_policy, seed=1).model, kept)
        assert torch.equal(log_probs(own_policy), before)
        load_trained(moved(own_policy, seed=2), state)
        assert torch.equal(log_probs(own_policy), before)


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights.popitem(),
        lambda weights: weights.update(more=torch.ones(1)),
        lambda weights: weights.update({name: weight[:2] for name, weight in weights.items() if "lora_A" in name}),
    ],
    ids=["fewer", "more", "narrower"],
)
def test_weights_of_another_adapter_are_refused(own_policy, change):
    weights = dict(adapter_weights(adapted(own_policy).model))
    change(weights)
    with pytest.raises(ValueError, match=r"weights of another adapter.*model\.lora the rank and targets"):
        load_adapter(own_policy.model, weights)


def test_merged_it_is_an_ordinary_model_that_computes_the_same(own_policy, tmp_path):
    names = set(own_policy.model.state_dict())
    assert merged(own_policy) is own_policy
    adapted(own_policy)
    before = state_of(own_policy.model)
    whole = merged(own_policy)
    assert set(whole.model.state_dict()) == names and whole.lora is None
    assert whole.model.lm_head.weight is whole.model.model.language_model.embed_tokens.weight  # still tied
    export(whole, tmp_path)
    with torch.no_grad():
        expected = log_probs(own_policy)
        for policy in (whole, load_checkpoint(str(tmp_path))):
            torch.testing.assert_close(log_probs(policy), expected, rtol=0, atol=1e-5)
        with acting(own_policy.model, None):
            assert (log_probs(own_policy) - expected).abs().max() > 1e-2  # the adapter had something to say
    assert_same_state(own_policy.model, before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    export(build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1), folder)
    return str(folder)


def test_bfloat16_weights_below_a_float32_adapter(folder):
    policy = adapted(load_pretrained(path=folder, dtype="bfloat16", lora=lora()))
    assert {weight.dtype for weight in adapter_weights(policy.model).values()} == {torch.float32}
    assert {weight.dtype for weight in policy.model.parameters() if not weight.requires_grad} == {torch.bfloat16}
    assert all(gradient.isfinite().all() and gradient.norm() > 0 for gradient in gradients(policy))
    whole = merged(policy)
    assert {weight.dtype for weight in whole.model.parameters()} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(log_probs(whole), log_probs(policy), rtol=0.05, atol=0.2)  # 8 bits in the layers


def test_under_bfloat16_autocast(folder):
    """As far from float32 as eight bits of mantissa take it, after a forward pass without gradients too."""
    policy = adapted(load_pretrained(path=folder, lora=lora()))
    expected = gradients(policy)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        log_probs(policy)
    for found, right in zip(gradients(policy, enabled=True), expected, strict=True):
        assert (found - right).norm() < 0.1 * right.norm()


def test_gradient_checkpointing_changes_no_numbers_with_dropout_either(folder):
    sides = []
    for checkpointing in (False, True):
        settings = lora(dropout=0.5)
        policy = adapted(load_pretrained(path=folder, lora=settings, gradient_checkpointing=checkpointing), settings)
        policy.model.train()
        with drawn_from(policy, 7):
            values = log_probs(policy)
        torch.rand(3)  # what is drawn between the passes does not matter
        trained = [weight for weight in policy.model.parameters() if weight.requires_grad]
        sides.append([values.detach(), *torch.autograd.grad(values.sum(), trained)])
    for kept, recomputed in zip(*sides, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=1e-5, atol=1e-5)


def test_dropout_is_drawn_from_its_seed_alone(own_policy):
    adapted(own_policy, lora(dropout=0.5)).model.train()
    found = []
    for seed in (1, 2, 1):
        torch.rand(seed)
        before = torch.get_rng_state()
        with torch.no_grad(), drawn_from(own_policy, seed):
            found.append(log_probs(own_policy))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(found[0], found[2]) and not torch.equal(found[0], found[1])


def test_without_peft_it_says_what_to_do(own_policy, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    monkeypatch.setitem(sys.modules, "peft.functional", None)
    own_policy.lora = lora()
    with pytest.raises(ValueError, match=r"model\.lora needs the package peft: pip install -e '\.\[lora\]'"):
        attach(own_policy, seed=0)
