"""States between layers: those that the library shows, exact gradients, and nothing but runs of the decoder."""

import pytest
import torch

from museg.policy.adapter import acting
from museg.policy.forward import left_aligned, run_decoder
from museg.policy.key_value_cache import rollout_cache
from museg.policy.layer_states import captured_states
from tests.policy.adapted_policy import adapted
from tests.policy.drawn_clips import drawn_batch


def inputs_of(policy) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and positions of prompts, as leaves of a graph."""
    with torch.no_grad():
        embeds, positions = left_aligned(policy, drawn_batch(policy, 2))
    return embeds, positions


def library_states(policy, embeds, positions) -> tuple[torch.Tensor, ...]:
    """As many as there are layers, and one more."""
    decoder = policy.model.model.language_model
    options = {"attention_mask": {"full_attention": None}, "use_cache": False, "output_hidden_states": True}
    return decoder(inputs_embeds=embeds, position_ids=positions, **options).hidden_states


@torch.no_grad()
def test_they_are_those_of_the_library(policy):
    embeds, positions = inputs_of(policy)
    layers = range(-5, 0)  # four layers and the final norm read something
    with captured_states(policy, layers) as states:
        last = run_decoder(policy, embeds, positions)
    expected = library_states(policy, embeds, positions)
    assert set(states) == set(layers) and len(expected) == 5
    for layer in range(-5, -1):
        assert torch.equal(states[layer], expected[layer])
    assert torch.equal(states[-5], embeds)
    norm = policy.model.model.language_model.norm
    assert torch.equal(norm(states[-1]), last) and torch.equal(last, expected[-1])
    assert not torch.allclose(states[-1], last)  # the last one is caught before the norm


@torch.no_grad()
def test_each_run_replaces_the_one_before(policy):
    """As in decoding: the prompt first, then token by token over what is cached."""
    embeds, positions = inputs_of(policy)
    cache, found = rollout_cache(len(policy.model.model.language_model.layers)), []
    with captured_states(policy, [-2, -1]) as states:
        run_decoder(policy, embeds, positions)
        whole = dict(states)
        for part in (slice(0, 7), slice(7, 8), slice(8, 9)):
            run_decoder(policy, embeds[:, part], positions[:, :, part], cache=cache)
            found.append(dict(states))
    for layer in (-2, -1):
        pieces = torch.cat([part[layer] for part in found], dim=1)
        torch.testing.assert_close(pieces, whole[layer][:, :9], rtol=0, atol=1e-5)


@torch.no_grad()
def test_only_a_run_of_the_decoder_is_seen(policy):
    embeds, positions = inputs_of(policy)
    decoder = policy.model.model.language_model
    rotary = decoder.rotary_emb(embeds, positions)
    with captured_states(policy, [-2, -1]) as states:
        decoder.layers[-1](embeds, position_embeddings=rotary)
        assert not states
        run_decoder(policy, embeds, positions)
        before = dict(states)
        decoder.layers[-1](embeds, position_embeddings=rotary)  # what recomputing a layer does
        decoder.norm(embeds)
    run_decoder(policy, 2 * embeds, positions)  # behind the context
    assert all(states[layer] is before[layer] for layer in (-2, -1))


@torch.no_grad()
def test_nothing_stays_on_the_model_even_after_an_error(policy):
    embeds, positions = inputs_of(policy)
    decoder = policy.model.model.language_model
    modules = (decoder, *decoder.layers, decoder.norm)
    before = [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in modules]
    with captured_states(policy, [-2, -1]) as states:
        run_decoder(policy, embeds, positions)
        with pytest.raises(RuntimeError):
            run_decoder(policy, embeds, positions[:, :, :-1])  # one position is lacking
        decoder.norm(embeds)
        assert not states  # the run is over, though it failed, and leaves none of the run before
    with pytest.raises(KeyError), captured_states(policy, [-2, -1]) as states:
        raise KeyError
    assert [(len(module._forward_pre_hooks), len(module._forward_hooks)) for module in modules] == before


def gradients(policy, *, checkpointing: bool, inside: bool) -> list[torch.Tensor]:
    """Of everything that trains and the embeddings, through both captured states; then the states themselves."""
    embeds, positions = inputs_of(policy)
    embeds.requires_grad_()
    model = policy.model.train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False, "preserve_rng_state": False})
    trained = [embeds, *(weight for weight in model.parameters() if weight.requires_grad)]
    with captured_states(policy, [-2, -1]) as states:
        last = run_decoder(policy, embeds, positions)
        if inside:
            total = combined(states, last)
            found = torch.autograd.grad(total, trained, allow_unused=True)
    if not inside:
        found = torch.autograd.grad(combined(states, last), trained, allow_unused=True)
    return [*found, states[-2].detach(), states[-1].detach()]


def combined(states, last) -> torch.Tensor:
    """A sum that every number of both states and of the result enters with a weight of its own."""
    return sum(
        (state * torch.linspace(-1, 1, state.numel()).view_as(state)).sum() for state in (*states.values(), last)
    )


@pytest.mark.parametrize("with_adapter", [False, True], ids=["own weights", "adapter"])
@pytest.mark.parametrize("inside", [False, True], ids=["backward behind", "backward inside"])
def test_checkpointing_changes_neither_states_nor_gradients(own_policy, with_adapter, inside):
    if with_adapter:
        adapted(own_policy)
    plain, recomputed = (gradients(own_policy, checkpointing=on, inside=inside) for on in (False, True))
    for kept, found in zip(plain, recomputed, strict=True):
        assert (kept is None) == (found is None)
        if kept is not None:
            torch.testing.assert_close(found, kept, rtol=1e-5, atol=1e-6)
    assert plain[0].norm() > 0


def test_layers_are_computed_twice_under_checkpointing(own_policy):
    """Else the test above would compare two passes that recompute nothing."""
    calls = []
    layer = own_policy.model.model.language_model.layers[-1]
    layer.self_attn.register_forward_hook(lambda *_: calls.append(1))
    gradients(own_policy, checkpointing=True, inside=True)
    assert len(calls) == 2


def test_gradients_are_those_of_the_librarys_states(own_policy):
    embeds, positions = inputs_of(own_policy)
    weights = [*own_policy.model.model.language_model.layers[0].parameters()]
    with captured_states(own_policy, [-2]) as states:
        run_decoder(own_policy, embeds, positions)
    found, expected = (
        torch.autograd.grad(state.square().sum(), weights)
        for state in (states[-2], library_states(own_policy, embeds, positions)[-2])
    )
    assert all(torch.equal(ours, theirs) and ours.norm() > 0 for ours, theirs in zip(found, expected, strict=True))


@torch.no_grad()
def test_an_adapter_acts_on_what_is_caught(own_policy):
    adapted(own_policy)
    embeds, positions = inputs_of(own_policy)
    with captured_states(own_policy, [-2]) as states:
        run_decoder(own_policy, embeds, positions)
        with_adapter = states[-2]
        with acting(own_policy.model, None):
            run_decoder(own_policy, embeds, positions)
    assert not torch.allclose(states[-2], with_adapter)


@pytest.mark.parametrize("layer", [0, 1, -6])
def test_a_layer_must_exist(policy, layer):
    with (
        pytest.raises(
            ValueError, match=rf"layer={layer} must be between -5 .*first of the decoder's 4 layers.* and -1"
        ),
        captured_states(policy, [layer]),
    ):
        pass
