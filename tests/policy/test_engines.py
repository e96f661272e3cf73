"""Every way of decoding against full forwards without a cache, against plain sampling, and against each other."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import chisquare

from museg.policy.adapter import acting
from museg.policy.engine import Rollouts
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import ENGINES, RolloutSettings, greedy_rollouts, sample_rollouts
from museg.policy.sampling import BLOCK_TOKENS
from tests.policy.adapted_policy import adapted
from tests.policy.decoding_ways import RECORDING, REHEARSING_WAYS, WAYS, rehearsed
from tests.policy.drawn_clips import drawn_batch, with_frequent_stops
from tests.policy.sized_policy import windowed_policy

NUM_PROMPTS, SEEDS = 3, [5, 6, 7]
SETTINGS = RolloutSettings(num_generations=4, temperature=1.0, max_new_tokens=14)
LOG_PROB_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}


def ragged_batch(policy):
    """Prompts of three lengths."""
    batch = drawn_batch(policy, NUM_PROMPTS, side_px=84, num_frames=4)
    assert batch.num_padding.unique().numel() > 1
    return replace(batch, pixel_values=batch.pixel_values.to(policy.model.dtype))


@pytest.fixture(scope="module")
def windowed():
    return windowed_policy()


@pytest.fixture(params=WAYS)
def engine(request):
    return WAYS[request.param]


def all_logits(policy, alone, completion) -> torch.Tensor:
    """Logits [C + 1, V] after one prompt and after every token that follows it, from one forward without a cache."""
    steps = torch.arange(len(completion)) + alone.next_position
    with torch.no_grad():
        return policy.model(
            input_ids=torch.cat([alone.input_ids[0], completion])[None],
            pixel_values_videos=alone.pixel_values,
            video_grid_thw=alone.grid_thw,
            position_ids=torch.cat([alone.position_ids, steps.expand(3, 1, -1)], dim=2),
            use_cache=False,
        ).logits[0, alone.input_ids.shape[1] - 1 :]


def test_greedy_tokens_are_those_of_a_full_forward(windowed, engine):
    policy, batch = with_frequent_stops(windowed), ragged_batch(windowed)
    rollouts = engine.greedy(policy, batch, SETTINGS)
    assert rollouts.completion_mask.sum(dim=1).unique().numel() > 1  # not all end together
    banned = torch.tensor(policy.ids.banned_ids)
    for prompt in range(NUM_PROMPTS):
        completion = rollouts.completion_ids[prompt][rollouts.completion_mask[prompt]]
        logits = all_logits(policy, batch.select([prompt]), completion)[:-1]
        assert logits.index_fill(1, banned, -torch.inf).argmax(dim=1).tolist() == completion.tolist()


@pytest.mark.parametrize("num_generations", [1, 2, 8])
@pytest.mark.parametrize("dtype", LOG_PROB_TOLERANCE, ids=str)
def test_log_probs_are_those_that_training_finds(engine, dtype, num_generations):
    policy = with_frequent_stops(windowed_policy(dtype))
    batch = ragged_batch(policy)
    rollouts = engine.sample(policy, batch, SETTINGS.with_num_generations(num_generations), SEEDS)
    ids, mask = rollouts.completion_ids, rollouts.completion_mask
    with torch.no_grad():
        expected = completion_log_probs(policy, batch, ids, mask, num_generations)
    assert rollouts.log_probs.dtype == dtype and mask.sum(dim=1).unique().numel() > 1
    assert (rollouts.log_probs - expected).abs().max() < LOG_PROB_TOLERANCE[dtype]


def test_all_ways_write_the_same(windowed, engine):
    """Rows that end early among them, and prompts whose rows have all ended."""
    policy, batch = with_frequent_stops(windowed), ragged_batch(windowed)
    settings = replace(SETTINGS, num_generations=2, max_new_tokens=40)
    expected, found = (one.sample(policy, batch, settings, SEEDS) for one in (WAYS["plain"], engine))
    ends = expected.completion_mask.sum(dim=1).view(NUM_PROMPTS, -1).amax(dim=1)
    assert ends.min() < ends.max()
    assert torch.equal(found.completion_ids, expected.completion_ids)
    assert torch.equal(found.completion_mask, expected.completion_mask)
    assert found.texts == expected.texts and torch.equal(found.group_of, expected.group_of)
    torch.testing.assert_close(found.log_probs, expected.log_probs, rtol=0, atol=1e-5)


def test_company_does_not_matter(windowed, engine):
    policy, batch = with_frequent_stops(windowed), ragged_batch(windowed)
    together = engine.sample(policy, batch, SETTINGS, SEEDS)
    for prompt in range(NUM_PROMPTS):
        alone, rows = (
            engine.sample(policy, batch.select([prompt]), SETTINGS, [SEEDS[prompt]]),
            together.group_of == prompt,
        )
        length = alone.completion_ids.shape[1]
        assert torch.equal(together.completion_ids[rows, :length], alone.completion_ids)
        assert not together.completion_mask[rows, length:].any()
        torch.testing.assert_close(together.log_probs[rows, :length], alone.log_probs, rtol=0, atol=1e-5)


def test_pairs_of_tokens_follow_plain_sampling(windowed, engine):
    """Chi-square over all pairs of a first and a second token, against softmax over the tokens that are allowed."""
    allowed = [80, 128, 255, 383, 384]  # in all four blocks of weights that are added up apart, and at their edges
    banned = tuple(token for token in range(windowed.model.lm_head.out_features) if token not in allowed)
    policy = replace(windowed, ids=replace(windowed.ids, banned_ids=banned))
    assert {token // BLOCK_TOKENS for token in allowed} == {0, 1, 2, 3}
    batch, num_draws = ragged_batch(policy), 3000
    settings = RolloutSettings(num_generations=num_draws, temperature=1.0, max_new_tokens=2)

    def p_values(temperature: float) -> list[float]:
        drawn = engine.sample(policy, batch, replace(settings, temperature=temperature), SEEDS).completion_ids
        return [chisquare(counts(drawn[rows]), expected).pvalue for rows, expected in zip(groups, pairs, strict=True)]

    def counts(drawn: torch.Tensor) -> list[int]:
        return [
            int((drawn == torch.tensor(pair)).all(dim=1).sum())
            for pair in torch.cartesian_prod(*[torch.tensor(allowed)] * 2).tolist()
        ]

    groups = [slice(prompt * num_draws, (prompt + 1) * num_draws) for prompt in range(NUM_PROMPTS)]
    pairs = [num_draws * pair_probs(policy, batch.select([prompt]), allowed) for prompt in range(NUM_PROMPTS)]
    assert min(expected.min() for expected in pairs) > 5  # fewer expected would make the test approximate
    assert min(p_values(1.0)) > 1e-3
    assert max(p_values(1.5)) < 1e-3  # the control: another distribution is noticed


def pair_probs(policy, alone, allowed):
    """Probability of each pair of allowed tokens after one prompt, by full forwards: a numpy array."""
    after = [all_logits(policy, alone, torch.tensor([token])).double()[:, allowed].softmax(dim=-1) for token in allowed]
    return torch.cat([probs[0, index] * probs[1] for index, probs in enumerate(after)]).numpy()


def test_adapters_on_the_models_modules_take_part(windowed, engine):
    """Decoding calls the projections as modules: what hooks them, as adapters do, changes it like a full forward."""
    batch, layer = ragged_batch(windowed), windowed.model.model.language_model.layers[1]
    before = engine.sample(windowed, batch, SETTINGS, SEEDS)
    hooks = [
        module.register_forward_hook(lambda _, __, output: 1.5 * output)
        for module in (layer.self_attn.q_proj, layer.self_attn.v_proj, layer.mlp.down_proj)
    ]
    rollouts = engine.sample(windowed, batch, SETTINGS, SEEDS)
    with torch.no_grad():
        expected = completion_log_probs(windowed, batch, rollouts.completion_ids, rollouts.completion_mask, 4)
    for hook in hooks:
        hook.remove()
    assert (rollouts.log_probs - expected).abs().max() < 1e-4
    assert not torch.equal(before.completion_ids, rollouts.completion_ids)


def test_a_low_rank_adapter_takes_part(engine):
    """Every way agrees with the others and with training, and writes other tokens than without the adapter."""
    policy = adapted(with_frequent_stops(windowed_policy()))
    batch = ragged_batch(policy)
    rollouts, plain = (one.sample(policy, batch, SETTINGS, SEEDS) for one in (engine, WAYS["plain"]))
    assert torch.equal(rollouts.completion_ids, plain.completion_ids)
    with torch.no_grad():
        expected = completion_log_probs(policy, batch, rollouts.completion_ids, rollouts.completion_mask, 4)
    assert (rollouts.log_probs - expected).abs().max() < LOG_PROB_TOLERANCE[torch.float32]
    with acting(policy.model, None):
        assert engine.sample(policy, batch, SETTINGS, SEEDS).texts != rollouts.texts


def test_under_bfloat16_autocast(windowed, engine):
    batch = ragged_batch(windowed)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rollouts = engine.sample(windowed, batch, SETTINGS, SEEDS)
        expected = completion_log_probs(windowed, batch, rollouts.completion_ids, rollouts.completion_mask, 4)
    # bfloat16 keeps 8 bits: one step of rounding is 1/256 of a logit
    torch.testing.assert_close(rollouts.log_probs, expected.detach(), rtol=0.05, atol=0.1)


def test_one_token_needs_no_step(windowed, engine):
    batch, settings = ragged_batch(windowed), replace(SETTINGS, max_new_tokens=1)
    rollouts = engine.sample(windowed, batch, settings, SEEDS)
    longer = engine.sample(windowed, batch, SETTINGS, SEEDS)
    assert rollouts.completion_ids.shape == (12, 1) and rollouts.completion_mask.all()
    assert rollouts.log_probs.shape == (12, 1) and (rollouts.log_probs < 0).all()
    assert longer.completion_ids.shape == (12, 14)


def test_another_engine_is_one_class_and_one_name(windowed, monkeypatch):
    class Echo:
        """Answers every prompt with its seed."""

        def sample(self, policy, batch, settings, seeds, record=None):
            ids = torch.tensor(seeds)[:, None]
            ones = torch.ones_like(ids, dtype=torch.bool)
            return Rollouts(ids, ones, [str(seed) for seed in seeds], torch.arange(len(seeds)), torch.zeros(ids.shape))

        def greedy(self, policy, batch, settings, record=None):
            return self.sample(policy, batch, settings, [0] * len(batch.examples))

    monkeypatch.setitem(ENGINES, "echo", Echo())
    settings, batch = RolloutSettings(engine="echo"), ragged_batch(windowed)
    assert sample_rollouts(windowed, batch, settings, SEEDS).texts == ["5", "6", "7"]
    assert greedy_rollouts(windowed, batch, settings).texts == ["0", "0", "0"]


def test_a_kernel_that_cannot_be_overridden_is_refused():
    policy = windowed_policy()
    policy.model.set_attn_implementation({"text_config": "eager"})
    with pytest.raises(ValueError, match=r"attention 'eager' cannot be replaced.*use one of sdpa, flash_attention_2"):
        sample_rollouts(policy, ragged_batch(policy), SETTINGS, SEEDS)


@pytest.mark.parametrize("name", REHEARSING_WAYS)
def test_a_step_may_be_rehearsed(windowed, name, monkeypatch):
    """Before a GPU records a step it does it once; with its state put back, nothing of that may be left."""
    policy, batch = with_frequent_stops(windowed), ragged_batch(windowed)
    expected = WAYS[name].sample(policy, batch, SETTINGS, SEEDS)
    monkeypatch.setattr(RECORDING, rehearsed)
    rollouts = WAYS[name].sample(policy, batch, SETTINGS, SEEDS)
    assert torch.equal(rollouts.completion_ids, expected.completion_ids)
    torch.testing.assert_close(rollouts.log_probs, expected.log_probs, rtol=0, atol=1e-5)
