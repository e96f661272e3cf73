"""Attention to prompts that are held once, against attention spelt out for every row."""

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from museg.policy.cascade import CascadeCache
from museg.policy.cascade_engine import ON_PROCESSOR, CascadeEngine
from museg.policy.forward import drop_left_padding, embed_prompts, run_decoder
from museg.policy.key_value_cache import rollout_cache
from museg.policy.prefill import ReadPrompts
from museg.policy.rollout import RolloutSettings
from tests.policy.drawn_clips import drawn_batch

KEY_HEADS, QUERIES_PER_KEY, WIDTH = 2, 3, 4
NUM_ROWS = 2
LENGTHS = [5, 7, 3]
MODULE = SimpleNamespace(layer_idx=0, scaling=0.5)


class Spelt:
    """The same, row by row: keys and values of prompt and row one after the other."""

    def __init__(self, keys, values):
        self.keys = [keys[p, :, : LENGTHS[p]] for p in range(3) for _ in range(NUM_ROWS)]
        self.values = [values[p, :, : LENGTHS[p]] for p in range(3) for _ in range(NUM_ROWS)]

    def attend(self, rows, query, key, value):
        found = []
        for place, row in enumerate(rows):
            self.keys[row] = torch.cat([self.keys[row], key[place]], dim=1)
            self.values[row] = torch.cat([self.values[row], value[place]], dim=1)
            repeated = (self.keys[row][None], self.values[row][None])
            found.append(scaled_dot_product_attention(query[place : place + 1], *repeated, scale=0.5, enable_gqa=True))
        return torch.cat(found).transpose(1, 2)


@pytest.fixture
def both():
    """Two ways of holding three prompts of unequal length, random keys behind the end of the shorter ones."""
    generator = torch.Generator().manual_seed(0)
    keys, values = torch.randn(2, 3, KEY_HEADS, max(LENGTHS), WIDTH, generator=generator, dtype=torch.float64)
    prompts = SimpleNamespace(keys=[keys], values=[values], num_tokens=torch.tensor(LENGTHS))
    return CascadeCache(prompts, NUM_ROWS, 2), Spelt(keys, values)


def compare(cache, spelt, rows, seed):
    """One step of the given rows."""
    generator = torch.Generator().manual_seed(seed)
    heads = KEY_HEADS * QUERIES_PER_KEY
    query = torch.randn(len(rows), heads, 1, WIDTH, generator=generator, dtype=torch.float64)
    key, value = torch.randn(2, len(rows), KEY_HEADS, 1, WIDTH, generator=generator, dtype=torch.float64)
    cache.begin_step()
    found = cache.attend(MODULE, query, key, value)
    cache.step += 1
    expected = spelt.attend(rows, query, key, value)
    assert found.shape == (len(rows), 1, heads, WIDTH)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_rows_read_their_prompt_and_themselves(both):
    cache, spelt = both
    for step in range(2):
        compare(cache, spelt, range(6), step)


def test_room_grows(both):
    cache, spelt = both
    for step in range(5):
        if step in (2, 4):
            cache.grow(step + 2)
        compare(cache, spelt, range(6), step)
    assert cache.own_keys[0].shape == (3 * KEY_HEADS * NUM_ROWS, 6, WIDTH)


def test_rows_and_prompts_leave(both):
    cache, spelt = both
    compare(cache, spelt, range(6), 1)
    # of the second prompt the first row and then the second are rows 3 and 2 of the whole, of the third 4 and 5
    cache.keep(torch.tensor([1, 2]), torch.tensor([[1, 0], [0, 1]]))
    compare(cache, spelt, [3, 2, 4, 5], 2)
    cache.grow(3)
    cache.keep(torch.tensor([1]), torch.tensor([[1]]))
    compare(cache, spelt, [5], 3)
    # what has left holds no memory: the prompt that is left has three tokens
    assert cache.prompt_keys[0].shape == cache.prompt_values[0].shape == (KEY_HEADS, 3, WIDTH)
    assert cache.own_keys[0].shape == cache.own_values[0].shape == (KEY_HEADS, 3, WIDTH)


def test_a_prompt_is_held_once_however_many_rows_it_has(policy, monkeypatch):
    caches, init = [], CascadeCache.__init__
    monkeypatch.setattr(CascadeCache, "__init__", lambda self, *args: (caches.append(self), init(self, *args))[1])
    batch, settings = drawn_batch(policy, 2), RolloutSettings(num_generations=16, max_new_tokens=5)
    CascadeEngine(ON_PROCESSOR).sample(policy, batch, settings, [1, 2])
    (cache,), config = caches, policy.model.config.text_config
    heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    for prompt, own in zip(cache.prompt_keys + cache.prompt_values, cache.own_keys + cache.own_values, strict=True):
        assert prompt.shape == (2 * heads, batch.input_ids.shape[1], width)
        assert prompt.untyped_storage().nbytes() == prompt.numel() * prompt.element_size()
        assert own.shape == (2 * heads * 16, 5, width)


def test_nothing_of_the_cache_outlives_the_rollout(policy, monkeypatch):
    """Nothing waits for the collector of circles: what a rollout held, the update that follows it needs."""
    caches, init = [], CascadeCache.__init__
    monkeypatch.setattr(
        CascadeCache, "__init__", lambda self, *args: (caches.append(weakref.ref(self)), init(self, *args))[1]
    )
    gc.disable()
    try:
        settings = RolloutSettings(num_generations=2, max_new_tokens=5)
        CascadeEngine(ON_PROCESSOR).sample(policy, drawn_batch(policy, 2), settings, [1, 2])
        assert [cache() for cache in caches] == [None]
    finally:
        gc.enable()


def test_prompts_are_read_as_by_the_whole_decoder(policy):
    """Though the last layer is run for last tokens only."""
    batch = drawn_batch(policy, 3)
    padding, cache = batch.num_padding, rollout_cache(len(policy.model.model.language_model.layers))
    assert padding.unique().numel() > 1
    policy.model.eval()
    with torch.no_grad():
        found = ReadPrompts(policy, batch)
        embeds = drop_left_padding(embed_prompts(policy, batch), padding)
        positions = drop_left_padding(batch.position_ids.permute(1, 2, 0), padding).permute(2, 0, 1)
        hidden = run_decoder(policy, embeds, positions, cache=cache)
    assert len(found.keys) == len(found.values) == len(cache.layers)
    for prompt, length in enumerate(batch.attention_mask.sum(dim=1).tolist()):
        torch.testing.assert_close(found.hidden[prompt], hidden[prompt, length - 1], rtol=1e-5, atol=1e-5)
        for layer, keys, values in zip(cache.layers, found.keys, found.values, strict=True):
            torch.testing.assert_close(keys[prompt, :, :length], layer.keys[prompt, :, :length], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(
                values[prompt, :, :length], layer.values[prompt, :, :length], rtol=1e-5, atol=1e-5
            )
