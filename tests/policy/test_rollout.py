from dataclasses import replace

import pytest
import torch

from museg.policy.cascade import CascadeCache
from museg.policy.engine import completion_mask
from museg.policy.forward import encode_video
from museg.policy.key_value_cache import RolloutCacheLayer
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import build_prompt_batch
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from tests.policy.drawn_clips import WORDING, drawn_batch, drawn_clip, with_frequent_stops

SETTINGS = RolloutSettings(num_generations=3, temperature=1.0, max_new_tokens=16)


def rows(rollouts, prompts: list[int], num_generations: int) -> list[int]:
    return [row for prompt in prompts for row in range(prompt * num_generations, (prompt + 1) * num_generations)]


def test_shapes_and_order(policy):
    rollouts = sample_rollouts(policy, drawn_batch(policy, 2), SETTINGS, [1, 2])
    assert rollouts.completion_ids.shape == rollouts.completion_mask.shape == rollouts.log_probs.shape == (6, 16)
    assert rollouts.group_of.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(rollouts.texts) == 6
    assert len(set(rollouts.texts)) == 6  # every generation draws for itself


def test_a_row_ends_with_its_first_stop(policy):
    policy = with_frequent_stops(policy)
    rollouts = sample_rollouts(policy, drawn_batch(policy, 4), SETTINGS, [1, 2, 3, 4])
    stops, lengths = set(policy.ids.stop_ids), rollouts.completion_mask.sum(dim=1).tolist()
    assert len(set(lengths)) > 2 and max(lengths) == rollouts.completion_ids.shape[1]
    for ids, length, log_probs in zip(
        rollouts.completion_ids.tolist(), lengths, rollouts.log_probs.tolist(), strict=True
    ):
        assert not stops & set(ids[: length - 1])
        assert length == 16 or ids[length - 1] in stops
        assert set(ids[length:]) <= {policy.ids.pad_id}
        assert all(value == 0 for value in log_probs[length:]) and all(value < 0 for value in log_probs[:length])


def test_a_prompt_is_answered_alike_in_any_company(policy):
    """Not with padding, not with other prompts, not with rows that finish earlier or later."""
    policy = with_frequent_stops(policy)
    batch = drawn_batch(policy, 4)
    together = sample_rollouts(policy, batch, SETTINGS, [11, 12, 13, 14])
    for chosen in ([2], [3, 1]):
        apart = sample_rollouts(policy, batch.select(chosen), SETTINGS, [11 + prompt for prompt in chosen])
        length, kept = apart.completion_ids.shape[1], rows(together, chosen, 3)
        assert torch.equal(together.completion_ids[kept, :length], apart.completion_ids)
        assert torch.equal(together.completion_mask[kept, :length], apart.completion_mask)
        torch.testing.assert_close(together.log_probs[kept, :length], apart.log_probs, rtol=1e-5, atol=1e-5)
        assert [together.texts[row] for row in kept] == apart.texts


def test_seeds_decide(policy):
    batch = drawn_batch(policy, 2)
    first, again, other = (sample_rollouts(policy, batch, SETTINGS, seeds) for seeds in ([5, 6], [5, 6], [7, 6]))
    assert torch.equal(first.completion_ids, again.completion_ids)
    assert not torch.equal(first.completion_ids[:3], other.completion_ids[:3])
    assert torch.equal(first.completion_ids[3:], other.completion_ids[3:])
    state = torch.get_rng_state()
    sample_rollouts(policy, batch, SETTINGS, [2**63 - 1, 0])
    assert torch.equal(torch.get_rng_state(), state)


def test_banned_ids_are_never_sampled_though_the_model_wants_them(own_policy):
    """A head that puts nearly all probability on the placeholder."""
    own_policy.model.config.tie_word_embeddings = False
    head = own_policy.model.lm_head
    head.weight = torch.nn.Parameter(head.weight.detach().clone() * 0.01)
    batch = drawn_batch(own_policy, 2)
    probe = greedy_rollouts(own_policy, batch, SETTINGS)
    with torch.no_grad():
        for banned in own_policy.ids.banned_ids:
            head.weight[banned] = head.weight[probe.completion_ids[0, 0]] * 100
    for rollouts in (
        sample_rollouts(own_policy, batch, SETTINGS, [1, 2]),
        greedy_rollouts(own_policy, batch, SETTINGS),
    ):
        assert not torch.isin(rollouts.completion_ids, torch.tensor(own_policy.ids.banned_ids)).any()
        # the reported log-prob is that of the whole distribution, as training sees it, not of the allowed part
        again = completion_log_probs(
            own_policy, batch, rollouts.completion_ids, rollouts.completion_mask, len(rollouts.texts) // 2
        )
        torch.testing.assert_close(rollouts.log_probs, again.detach(), rtol=0, atol=1e-4)


def test_a_long_prompt_has_a_lower_limit(policy):
    batch = drawn_batch(policy, 3)
    lengths = batch.attention_mask.sum(dim=1)
    context = int(lengths.max()) + 2
    limits = (context - lengths).clamp(max=9).tolist()
    rollouts = greedy_rollouts(policy, batch, replace(SETTINGS, max_new_tokens=9, max_context_tokens=context))
    assert min(limits) == 2 and len(set(limits)) > 1
    assert rollouts.completion_mask.sum(dim=1).tolist() == limits
    unlimited = greedy_rollouts(policy, batch, replace(SETTINGS, max_new_tokens=9))
    for row, limit in enumerate(limits):
        assert torch.equal(rollouts.completion_ids[row, :limit], unlimited.completion_ids[row, :limit])
    with pytest.raises(ValueError, match=rf"{int(lengths.max())} tokens leaves no room.*={int(lengths.max())}"):
        greedy_rollouts(policy, batch, replace(SETTINGS, max_context_tokens=int(lengths.max())))


def test_texts_keep_tags_and_drop_special_tokens(policy):
    policy = with_frequent_stops(policy)
    rollouts = sample_rollouts(policy, drawn_batch(policy, 4), SETTINGS, [1, 2, 3, 4])
    for text, ids, kept in zip(rollouts.texts, rollouts.completion_ids, rollouts.completion_mask, strict=True):
        assert text == policy.tokenizer.decode(ids[kept], skip_special_tokens=True)
        assert "<|" not in text


def test_temperature_shapes_the_samples_but_not_the_log_probs(policy):
    batch = drawn_batch(policy, 1)
    cold = sample_rollouts(policy, batch, replace(SETTINGS, temperature=1e-6), [1])
    greedy = greedy_rollouts(policy, batch, SETTINGS)
    assert torch.equal(cold.completion_ids, greedy.completion_ids.expand(3, -1))
    torch.testing.assert_close(cold.log_probs, greedy.log_probs.expand(3, -1), rtol=1e-5, atol=1e-5)


def test_first_tokens_follow_the_distribution(policy):
    batch = drawn_batch(policy, 1)
    settings = RolloutSettings(num_generations=4000, temperature=1.0, max_new_tokens=1)
    rollouts = sample_rollouts(policy, batch, settings, [3])
    tokens, counts = rollouts.completion_ids[:, 0].unique(return_counts=True)
    likely = counts.topk(min(5, len(counts))).indices
    for index in likely.tolist():
        row = int((rollouts.completion_ids[:, 0] == tokens[index]).nonzero()[0])
        expected = rollouts.log_probs[row, 0].exp().item()
        # four standard errors of a share out of 4000
        assert counts[index].item() / 4000 == pytest.approx(expected, abs=4 * (expected / 4000) ** 0.5)


@pytest.mark.parametrize(
    ("engine", "cache_class", "buffers"),
    [
        ("cascade", CascadeCache, ("prompt_keys", "prompt_values", "own_keys", "own_values")),
        ("plain", RolloutCacheLayer, ("keys", "values")),
    ],
)
def test_keys_and_values_have_one_dtype_under_autocast(policy, monkeypatch, engine, cache_class, buffers):
    caches, init = [], cache_class.__init__

    def kept(self, *args, **options):
        caches.append(self)
        init(self, *args, **options)

    def dtypes():
        held = [getattr(cache, name) for cache in caches for name in buffers]
        tensors = [t for tensors in held for t in (tensors if isinstance(tensors, list) else [tensors])]
        caches.clear()
        return {tensor.dtype for tensor in tensors}

    monkeypatch.setattr(cache_class, "__init__", kept)
    batch, settings = drawn_batch(policy, 2), replace(SETTINGS, engine=engine)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rollouts = greedy_rollouts(policy, batch, settings)
        again = completion_log_probs(policy, batch, rollouts.completion_ids, rollouts.completion_mask, 1)
    assert dtypes() == {torch.bfloat16}
    greedy_rollouts(policy, batch, settings)
    assert dtypes() == {torch.float32}
    # bfloat16 keeps 8 bits: one step of rounding is 1/256 of a logit
    torch.testing.assert_close(rollouts.log_probs, again.detach(), rtol=0.05, atol=0.1)


def test_completion_mask_by_hand():
    ids = torch.tensor([[5, 9, 5, 9], [5, 5, 5, 5], [8, 5, 5, 5]])
    assert completion_mask(ids, [9, 8]).int().tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]


def test_the_models_mode_comes_back(own_policy):
    for training in (True, False):
        own_policy.model.train(training)
        rollouts = greedy_rollouts(own_policy, drawn_batch(own_policy, 1), SETTINGS)
        assert own_policy.model.training is training
        assert not rollouts.log_probs.requires_grad


@pytest.mark.parametrize(
    ("setting", "rule"),
    [
        ({"num_generations": 0}, r"rollout\.num_generations=0 must be at least 1"),
        ({"temperature": 0.0}, r"rollout\.temperature=0\.0 must be above 0 \(greedy_rollouts"),
        ({"top_p": 0.0}, r"rollout\.top_p=0\.0 must be above 0 and at most 1"),
        ({"top_p": 1.1}, r"rollout\.top_p"),
        ({"max_new_tokens": 0}, r"rollout\.max_new_tokens"),
        ({"max_context_tokens": 1}, r"rollout\.max_context_tokens"),
        ({"engine": "fastest"}, r"rollout\.engine=fastest must be one of cascade, plain"),
    ],
)
def test_settings_out_of_range_are_refused(setting, rule):
    with pytest.raises(ValueError, match=rule):
        RolloutSettings(**setting)


def test_features_made_beforehand_answer_like_pixels(policy):
    """Each video encoded once and by itself, two questions on the first of them."""
    clips = [drawn_clip(0), drawn_clip(0, query="And 'blue circle'?"), drawn_clip(1, num_frames=11)]
    batch = build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096)
    with torch.no_grad():
        first, second = (encode_video(policy, clip.video) for clip in (clips[0], clips[2]))
    assert (len(first), len(second)) == (4, 6)  # 8 frames are 4 steps of one token, 11 are 6
    features = torch.cat([first, first, second])
    without_pixels = replace(batch, pixel_values=torch.empty(0, 1176), features=features)
    expected = greedy_rollouts(policy, batch, SETTINGS)
    rollouts = greedy_rollouts(policy, without_pixels, SETTINGS)
    assert torch.equal(rollouts.completion_ids, expected.completion_ids)
    torch.testing.assert_close(rollouts.log_probs, expected.log_probs, rtol=1e-5, atol=1e-5)
    # and the features are what is looked at
    other = greedy_rollouts(policy, replace(without_pixels, features=features.flip(0)), SETTINGS)
    assert not torch.allclose(other.log_probs[:, 0], expected.log_probs[:, 0], rtol=1e-5, atol=1e-5)


def test_every_prompt_needs_a_seed(policy):
    with pytest.raises(ValueError, match="1 seeds for 2 prompts"):
        sample_rollouts(policy, drawn_batch(policy, 2), SETTINGS, [1])
