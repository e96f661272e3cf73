import torch
from torch.nn.functional import scaled_dot_product_attention

from museg.policy.attention_overrides import attended_by
from museg.policy.forward import run_decoder


def test_a_call_may_bring_its_own_attention_and_the_next_one_does_not(policy):
    """The function sees every layer once; one that attends plainly changes nothing, another one does."""
    layers = []

    def plainly(module, query, key, value):
        layers.append(module.layer_idx)
        return scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2)

    def nothing(*given):
        return torch.zeros_like(plainly(*given))

    embeds = torch.randn(2, 5, policy.model.config.text_config.hidden_size, generator=torch.Generator().manual_seed(0))
    positions = torch.arange(5).expand(3, 2, -1)
    with torch.no_grad():
        expected = run_decoder(policy, embeds, positions)
        own = run_decoder(policy, embeds, positions, **attended_by(plainly))
        zeros = run_decoder(policy, embeds, positions, **attended_by(nothing))
        again = run_decoder(policy, embeds, positions)
    assert layers == 2 * list(range(len(policy.model.model.language_model.layers)))
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(again, expected) and not torch.allclose(zeros, expected, atol=0.1)
