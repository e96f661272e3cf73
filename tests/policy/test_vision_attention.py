import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.vision_attention import BATCHED_WINDOWS, use_batched_windows


@pytest.fixture(scope="module")
def model() -> Qwen2_5_VLForConditionalGeneration:
    """A tower with a windowed layer and a full one, as the published towers have."""
    rope = {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 1, 1]}
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "vocab_size": 16,
        "rope_parameters": rope,
    }
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 16}
    vision |= {"fullatt_block_indexes": [1], "window_size": 56, "initializer_range": 0.2}
    torch.manual_seed(0)
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision))


def run(model, attention: str, grids: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of the videos, and the gradient of their sum of squares in the first layer."""
    visual = model.model.visual
    visual.config._attn_implementation = attention
    grid_thw = torch.tensor(grids)
    pixels = torch.randn(int(grid_thw.prod(dim=1).sum()), 1176, generator=torch.Generator().manual_seed(1))
    features = visual(pixels, grid_thw=grid_thw).pooler_output
    (gradient,) = torch.autograd.grad(features.square().sum(), visual.blocks[0].attn.qkv.weight)
    return features, gradient


@pytest.mark.parametrize(
    "grids",
    [
        [[3, 2, 2]],  # one window a frame, all equal: the tiny model's case
        [[2, 8, 8]],  # four full windows a frame
        [[2, 6, 10]],  # windows cut at both edges: four sizes
        [[2, 6, 10], [1, 4, 4], [3, 2, 6]],  # videos of different size
    ],
)
def test_equals_one_call_per_window(model, grids):
    features, gradient = run(model, "sdpa", grids)
    batched_features, batched_gradient = run(model, BATCHED_WINDOWS, grids)
    torch.testing.assert_close(batched_features, features, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(batched_gradient, gradient, rtol=1e-4, atol=1e-5)


def test_windows_do_not_see_each_other(model):
    """The control: one window over everything gives another result, so the comparison above can fail."""
    visual = model.model.visual
    visual.config._attn_implementation = BATCHED_WINDOWS
    pixels, grid_thw = torch.randn(2 * 6 * 10, 1176), torch.tensor([[2, 6, 10]])
    everything = torch.tensor([0, 120], dtype=torch.int32)
    right = visual(pixels, grid_thw=grid_thw).pooler_output
    wrong = visual(pixels, grid_thw=grid_thw, cu_seqlens=everything).pooler_output
    assert (right - wrong).abs().max() > 1e-3


def test_only_the_tower_is_switched(model):
    use_batched_windows(model)
    assert model.model.visual.config._attn_implementation == BATCHED_WINDOWS
    assert model.config.text_config._attn_implementation == "sdpa"
