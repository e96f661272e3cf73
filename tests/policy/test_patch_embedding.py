import copy

import torch
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed

from museg.policy.patch_embedding import LinearPatchEmbed
from tests.policy.sized_policy import windowed_policy


def run(layer, patches):
    output = layer(patches)
    return output, *torch.autograd.grad(output.square().sum(), [*layer.parameters()])


def test_the_product_is_the_librarys_convolution():
    """In values and gradients, and in a copy of the model, whose weights are its own."""
    policy = windowed_policy()
    layer = copy.deepcopy(policy.model).double().model.visual.patch_embed
    assert type(layer) is LinearPatchEmbed
    assert layer.proj.weight is not policy.model.model.visual.patch_embed.proj.weight
    patches = torch.randn(10, 1176, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours = run(layer, patches)
    layer.__class__ = Qwen2_5_VisionPatchEmbed
    theirs = run(layer, patches)
    assert ours[0].shape == (10, 32) and float(ours[0].abs().max()) > 0.1
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)
