import pytest
import torch

from museg.policy.tiny import build_tiny


def test_weights_depend_on_the_seed_alone():
    state = torch.get_rng_state()
    first, again, other = build_tiny(seed=3), build_tiny(seed=3), build_tiny(seed=4)
    assert torch.equal(torch.get_rng_state(), state)  # and leave global randomness as it was
    pairs = zip(first.model.parameters(), again.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.model.lm_head.weight, other.model.lm_head.weight)


def test_size_and_settings(policy):
    model, config = policy.model, policy.model.config
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    assert 550_000 < num_parameters < 700_000
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert config.vision_config.tokens_per_second == 2  # of the published checkpoints; the library's default is 4
    assert config.video_token_id == policy.ids.video_id
    assert model.lm_head.weight.std().item() == pytest.approx(0.06, rel=0.05)
    assert model.model.language_model.rotary_emb.mrope_section == [6, 3, 3]


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"hidden_size=97 must be a multiple of 2 x num_heads=4"):
        build_tiny(hidden_size=97, seed=0)
    with pytest.raises(ValueError, match=r"mrope_section=\[6, 3, 2\].*= 12\)"):
        build_tiny(mrope_section=(6, 3, 2), seed=0)
