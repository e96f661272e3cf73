"""Arithmetic and bytes of the published 3B and 7B sizes, worked out by hand."""

import pytest

from museg.policy.sizes import published_config
from tests.benchmarks.gpu_floor import (
    Decoder,
    Peaks,
    Tower,
    Work,
    decoding_step,
    floor_s,
    optimizer_step,
    repeated_reading,
    shared_reading,
)

CONFIGS = {size: published_config(f"Qwen/Qwen2.5-VL-{size}-Instruct") for size in ("3B", "7B")}
DECODERS = {size: Decoder.of(config.text_config) for size, config in CONFIGS.items()}
SMALL = Decoder(layers=2, hidden=4, ffn=8, heads=2, key_heads=1, vocabulary=10)


def test_weights_of_a_small_decoder():
    # a layer: queries and output 2 x 4 x 4, keys and values 2 x 4 x 2, three of 4 x 8: 32 + 16 + 96
    assert SMALL.weights == 2 * 144
    assert SMALL.head_weights == 40
    assert SMALL.cached_values == 2 * 2 * 2  # layers x keys and values x one head of width 2


def test_weights_of_the_published_decoders():
    # 3B, a layer: 2 x 2048^2 + 2 x 2048 x 256 + 3 x 2048 x 11008 = 77,070,336; 36 of them
    assert DECODERS["3B"].weights == 36 * 77_070_336
    # 7B: 2 x 3584^2 + 2 x 3584 x 512 + 3 x 3584 x 18944 = 233,046,016; 28 of them
    assert DECODERS["7B"].weights == 28 * 233_046_016
    # keys and values of 36 layers with 2 heads of 128; of 28 layers with 4 heads of 128
    assert DECODERS["3B"].cached_values == 36 * 2 * 256
    assert DECODERS["7B"].cached_values == 28 * 2 * 512


def test_reading_with_and_without_a_shared_prompt():
    # prompt of 3, two completions of which 2 tokens each are read: the prompt's pairs are 1 + 2 + 3; a completion's two
    # tokens see the prompt, 6, and 1 + 2 of their own
    assert shared_reading(SMALL, 3, 2, 2) == Work(flops=2 * 288 * 7 + 4 * 2 * 4 * (6 + 2 * 9))
    # without: twice five tokens with 1 + 2 + 3 + 4 + 5 pairs
    assert repeated_reading(SMALL, 3, 2, 2) == Work(flops=2 * 288 * 10 + 4 * 2 * 4 * 30)


@pytest.mark.parametrize(("size", "shared_tflop", "repeated_tflop"), [("3B", 38.5, 196.4), ("7B", 85.9, 442.7)])
def test_reading_at_the_released_settings(size, shared_tflop, repeated_tflop):
    """A prompt of 3700 and 8 completions of 300, 299 of them read.

    3B shared: 6092 tokens x 2 x 2.7745e9 = 33.81e12; pairs 3700 x 3701 / 2 + 8 x (299 x 3700 + 299 x 300 / 2) =
    16.056e6, x 4 x 2048 x 36 = 4.74e12. Repeated: 31,992 tokens, 177.5e12; 8 x 3999 x 4000 / 2 pairs, 18.9e12.
    7B: 2 x 6.5253e9 and 4 x 3584 x 28 in their places: 79.50 + 6.45 and 417.5 + 25.7, less rounding.
    """
    decoder = DECODERS[size]
    assert shared_reading(decoder, 3700, 299, 8).flops / 1e12 == pytest.approx(shared_tflop, rel=2e-3)
    assert repeated_reading(decoder, 3700, 299, 8).flops / 1e12 == pytest.approx(repeated_tflop, rel=2e-3)


def test_vision_with_windows():
    tower = Tower(depth=3, full_layers=1, hidden=4, ffn=6, heads=2, patch_values=5, window=4, merge=2, out=7)
    # 2 steps of 6 x 4 patches, windows of 4 x 4 and 2 x 4
    full_pairs, window_pairs = 2 * 24**2, 2 * (16**2 + 8**2)
    layers = 3 * (4 * 16 + 3 * 24)  # a patch: queries, keys, values, output; three of 4 x 6
    merger = 12 * (16 * 16 + 16 * 7)  # 48 / 4 tokens of 4 x 4 numbers
    expected = 2 * 48 * (5 * 4 + layers) + 4 * 4 * (full_pairs + 2 * window_pairs) + 2 * merger
    assert tower.forward((2, 6, 4)) == Work(flops=expected)


def test_vision_at_the_released_settings():
    # 14,336 patches x 2 x (1176 x 1280 + 32 x (4 x 1280^2 + 3 x 1280 x 3420)) = 18.105e12; a frame pair of 8 x 8
    # patches is one window: 224 x 64^2 pairs x 4 x 1280 x 32 = 0.150e12; merger 3584 x 2 x (5120^2 + 5120 x 2048) =
    # 0.263e12
    tower = Tower.of(CONFIGS["3B"].vision_config)
    assert tower.forward((224, 8, 8)).flops / 1e12 == pytest.approx(18.105 + 0.150 + 0.263, rel=1e-4)


def test_a_decoded_token_reads_the_weights_once_and_the_prompt_once_for_its_group():
    # 2 prompts of 5, 3 rows each with 1 token of their own: caches of 2 x 5 + 6 x 1 tokens of 8 numbers
    work = decoding_step(SMALL, prompts=2, generations=3, prompt=5, own=1, value_bytes=2)
    assert work.moved_bytes == 2 * (288 + 40 + 8 * 16)
    assert work.flops == 2 * 328 * 6 + 4 * 2 * 4 * 6 * 6


def test_a_decoded_token_of_3b_is_bound_by_the_weights():
    # bfloat16: 2 x (2.7745e9 + 0.3112e9) = 6.171e9 bytes of weights; 36,864 x (3700 + 8 x 150) = 0.181e9 of caches
    work = decoding_step(DECODERS["3B"], 1, 8, 3700, 150, value_bytes=2)
    assert work.moved_bytes / 1e9 == pytest.approx(6.171 + 0.181, rel=1e-3)
    assert floor_s([work], Peaks(790e12, 4.3e12)) == pytest.approx(6.352e9 / 4.3e12, rel=1e-3)


def test_the_floor_is_the_longer_of_two_times_piece_by_piece():
    # 2 s of arithmetic over 1 s of bytes, then 1 s over 3 s
    assert floor_s([Work(flops=20, moved_bytes=5), Work(flops=10, moved_bytes=15)], Peaks(10, 5)) == 2 + 3


def test_repetitions_are_told_apart():
    work = Work(flops=5).times(4, repeated=1)
    assert (work.flops, work.repeated_flops) == (20, 5)


def test_an_optimizer_step_moves_ten_tensors():
    # the gradient for its norm; in and out for scaling; weight, gradient, two moments in; weight and moments out
    assert optimizer_step(100, 4).moved_bytes == 10 * 4 * 100
