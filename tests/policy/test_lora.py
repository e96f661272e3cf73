"""What an adapter may be asked to be, and how large it gets."""

import pytest

from museg.policy.adapter import attach
from museg.policy.lora import PROJECTIONS, LoraSettings, num_adapter_weights
from museg.policy.sizes import meta_model
from tests.policy.adapted_policy import lora
from tests.policy.sized_policy import windowed_policy

# Each projection adds rank x (in + out): with h hidden, k in all key heads and f feed-forward 2h for queries
# and output, h + k for keys and values, and h + f three times.
SIZES = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 36 * 16 * (2 * 4096 + 2 * (2048 + 256) + 3 * (2048 + 11008)),  # 29,933,568
    "Qwen/Qwen2.5-VL-7B-Instruct": 28 * 16 * (2 * 7168 + 2 * (3584 + 512) + 3 * (3584 + 18944)),  # 40,370,176
}


@pytest.mark.parametrize("name", SIZES)
def test_the_size_of_an_adapter_on_the_published_models(name):
    assert num_adapter_weights(meta_model(name), lora(rank=16)) == SIZES[name]


def test_the_size_is_that_of_what_trains():
    policy = windowed_policy()
    # 3 layers, rank 4: 64 wide, two key heads of 16, feed-forward 96
    size = num_adapter_weights(policy.model, lora(rank=4))
    assert size == 3 * 4 * (2 * 128 + 2 * (64 + 32) + 3 * (64 + 96))
    policy.lora = lora(rank=4)
    attach(policy, seed=0)
    assert size == sum(weight.numel() for weight in policy.model.parameters() if weight.requires_grad)


def test_only_what_is_chosen_counts():
    settings = LoraSettings(rank=2, alpha=1, dropout=0, targets={"q_proj": True, "v_proj": True, "up_proj": False})
    assert num_adapter_weights(windowed_policy().model, settings) == 3 * 2 * (128 + 96)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rank": -1}, r"model\.lora\.rank=-1 must be 0 \(no adapter\) or more"),
        ({"alpha": 0}, r"model\.lora\.alpha=0 must be above 0"),
        ({"dropout": 1}, r"model\.lora\.dropout=1 must be 0 or more and below 1"),
        ({"targets": {"q_proj": False}}, r"model\.lora\.targets=none must be some of"),
        ({"targets": {"lm_head": True}}, r"model\.lora\.targets=\['lm_head'\] must be some of .*'q_proj'"),
    ],
)
def test_what_cannot_be_is_refused(changed, message):
    settings = {"rank": 4, "alpha": 8, "dropout": 0, "targets": dict.fromkeys(PROJECTIONS, True)}
    with pytest.raises(ValueError, match=message):
        LoraSettings(**settings | changed)
