"""States recorded while generating are those of one full forward over prompts and what was written."""

from dataclasses import replace

import pytest
import torch

from museg.policy.adapter import acting
from museg.policy.feature_cache import FeatureCache
from museg.policy.processing import build_prompt_batch
from museg.policy.recorded_layers import RecordedLayers, video_slots
from museg.policy.rollout import ENGINES, RolloutSettings, greedy_rollouts, sample_rollouts
from tests.policy.adapted_policy import adapted
from tests.policy.decoding_ways import RECORDING, REHEARSING_WAYS, WAYS, rehearsed
from tests.policy.drawn_clips import WORDING, drawn_clip, with_frequent_stops
from tests.policy.sized_policy import windowed_policy

NUM_PROMPTS, SEEDS = 3, [5, 6, 7]
VIDEO_TOKENS = [18, 4, 6]  # two steps of 3 x 3 tokens, four of one, six of one
SETTINGS = RolloutSettings(num_generations=3, temperature=1.0, max_new_tokens=14)
LAYERS = [RecordedLayers(), RecordedLayers(-1, -2), RecordedLayers(-1, -1), RecordedLayers(-3, -4)]
TOLERANCE = {"rtol": 0, "atol": 1e-5}


@pytest.fixture(scope="module")
def windowed():
    """A policy of three layers that ends some rows early."""
    return with_frequent_stops(windowed_policy())


@pytest.fixture(params=WAYS)
def engine(request):
    return WAYS[request.param]


def ragged_batch(policy, **options):
    """Three prompts with queries, and videos, of unequal length."""
    clips = [drawn_clip(0, num_frames=4, side_px=84), drawn_clip(1), drawn_clip(2, num_frames=11)]
    batch = build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096, **options)
    assert batch.num_padding.unique().numel() == 3
    return batch


def full_forward(policy, alone, completion):
    """States by layer, each [P + C, hidden], of one prompt and its completion read at once, and where its video is."""
    steps = torch.arange(len(completion)) + alone.next_position
    input_ids, read = torch.cat([alone.input_ids[0], completion]), []
    hook = policy.model.model.language_model.norm.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    with torch.no_grad():
        states = policy.model(
            input_ids=input_ids[None],
            pixel_values_videos=alone.pixel_values,
            video_grid_thw=alone.grid_thw,
            position_ids=torch.cat([alone.position_ids, steps.expand(3, 1, -1)], dim=2),
            use_cache=False,
            output_hidden_states=True,
        ).hidden_states
    hook.remove()
    (before_norm,) = read
    by_layer = dict(enumerate(states[:-1], start=-len(states))) | {-1: before_norm}
    return {layer: found[0] for layer, found in by_layer.items()}, input_ids == policy.ids.video_id


def assert_states_of_full_forwards(policy, batch, rollouts, layers):
    """For every token of every completion, and for the video of every prompt."""
    frame_states = rollouts.frame_states.split(VIDEO_TOKENS)  # raises where there are more or fewer
    for row, prompt in enumerate(rollouts.group_of.tolist()):
        alone, mask = batch.select([prompt]), rollouts.completion_mask[row]
        states, is_video = full_forward(policy, alone, rollouts.completion_ids[row][mask])
        predicting = states[layers.token_layer][alone.input_ids.shape[1] - 1 : -1]
        torch.testing.assert_close(rollouts.token_states[row][mask], predicting, **TOLERANCE)
        torch.testing.assert_close(frame_states[prompt], states[layers.frame_layer][is_video], **TOLERANCE)
        assert not rollouts.token_states[row][~mask].any()


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_they_are_those_of_a_full_forward(windowed, engine, layers):
    """First tokens among them, whose states come from the prompt, and rows that end early."""
    batch = ragged_batch(windowed)
    rollouts = engine.sample(windowed, batch, SETTINGS, SEEDS, layers)
    assert rollouts.token_states.shape == (*rollouts.completion_ids.shape, 64)
    assert rollouts.completion_mask.sum(dim=1).unique().numel() > 2
    assert_states_of_full_forwards(windowed, batch, rollouts, layers)


def test_the_first_token_is_predicted_at_the_prompts_last_one(windowed, engine):
    """Not at its first one, as in the code that was released with MeCo: that differs by far more than is tolerated."""
    batch, layers = ragged_batch(windowed), RecordedLayers()
    rollouts = engine.greedy(windowed, batch, SETTINGS, layers)
    assert len(rollouts.token_states) == NUM_PROMPTS  # one completion per prompt, whatever the settings say
    assert_states_of_full_forwards(windowed, batch, rollouts, layers)
    for prompt in range(NUM_PROMPTS):
        states, _ = full_forward(windowed, batch.select([prompt]), rollouts.completion_ids[prompt][:1])
        assert (states[layers.token_layer][0] - rollouts.token_states[prompt, 0]).abs().max() > 0.1


@pytest.mark.parametrize("layers", LAYERS, ids=str)
def test_nothing_else_changes_to_the_last_bit(windowed, engine, layers):
    batch = ragged_batch(windowed)
    for write, inputs in ((engine.sample, [SETTINGS, SEEDS]), (engine.greedy, [SETTINGS])):
        plain, recorded = (write(windowed, batch, *inputs, record) for record in (None, layers))
        for name in ("completion_ids", "completion_mask", "group_of", "log_probs"):
            assert torch.equal(getattr(recorded, name), getattr(plain, name))
        assert recorded.texts == plain.texts
        assert plain.token_states is plain.frame_states is None


def test_company_does_not_matter(windowed, engine):
    batch, layers = ragged_batch(windowed), RecordedLayers()
    together = engine.sample(windowed, batch, SETTINGS, SEEDS, layers)
    frame_states = together.frame_states.split(VIDEO_TOKENS)
    for chosen in ([0], [2, 1]):
        apart = engine.sample(windowed, batch.select(chosen), SETTINGS, [SEEDS[prompt] for prompt in chosen], layers)
        rows, length = (
            torch.cat([(together.group_of == p).nonzero()[:, 0] for p in chosen]),
            apart.token_states.shape[1],
        )
        torch.testing.assert_close(together.token_states[rows, :length], apart.token_states, **TOLERANCE)
        torch.testing.assert_close(torch.cat([frame_states[p] for p in chosen]), apart.frame_states, **TOLERANCE)


def test_features_made_beforehand_are_looked_at(windowed, engine):
    batch, layers = ragged_batch(windowed), RecordedLayers()
    with_features = ragged_batch(windowed, features=FeatureCache(windowed, max_mib=1))
    assert with_features.features is not None and len(with_features.pixel_values) == 0
    rollouts = engine.sample(windowed, with_features, SETTINGS, SEEDS, layers)
    assert_states_of_full_forwards(windowed, batch, rollouts, layers)


def test_a_low_rank_adapter_takes_part(engine):
    policy, layers = adapted(with_frequent_stops(windowed_policy())), RecordedLayers()
    batch = ragged_batch(policy)
    rollouts = engine.sample(policy, batch, SETTINGS, SEEDS, layers)
    assert_states_of_full_forwards(policy, batch, rollouts, layers)
    with acting(policy.model, None):
        without = engine.sample(policy, batch, SETTINGS, SEEDS, layers)
    for name in ("token_states", "frame_states"):
        assert (getattr(without, name)[0] - getattr(rollouts, name)[0]).abs().max() > 0.1


@pytest.mark.parametrize("record", [None, RecordedLayers()], ids=str)
def test_one_token_needs_no_step(windowed, engine, record):
    batch = ragged_batch(windowed)
    rollouts = engine.sample(windowed, batch, replace(SETTINGS, max_new_tokens=1), SEEDS, record)
    assert rollouts.completion_ids.shape == (9, 1)
    if record is not None:
        assert_states_of_full_forwards(windowed, batch, rollouts, record)


def test_under_bfloat16_autocast(windowed, engine):
    """States that later layers add to stay in float32, as far as their addends go."""
    batch, layers = ragged_batch(windowed), RecordedLayers()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rollouts = engine.sample(windowed, batch, SETTINGS, SEEDS, layers)
    for row, prompt in enumerate(rollouts.group_of.tolist()):
        alone, mask = batch.select([prompt]), rollouts.completion_mask[row]
        states, _ = full_forward(windowed, alone, rollouts.completion_ids[row][mask])
        predicting = states[layers.token_layer][alone.input_ids.shape[1] - 1 : -1]
        gap = (rollouts.token_states[row][mask] - predicting).norm() / predicting.norm()
        assert 1e-4 < gap < 0.05  # bfloat16 keeps 8 bits, 1/256 of a number, over two layers


@pytest.mark.parametrize("name", REHEARSING_WAYS)
def test_a_step_may_be_rehearsed(windowed, name, monkeypatch):
    """As before a GPU records it: what a rehearsal keeps is what the step keeps in the same place."""
    batch, layers = ragged_batch(windowed), RecordedLayers()
    monkeypatch.setattr(RECORDING, rehearsed)
    rollouts = WAYS[name].sample(windowed, batch, SETTINGS, SEEDS, layers)
    assert_states_of_full_forwards(windowed, batch, rollouts, layers)


def test_a_replay_finds_its_tensors_where_they_were(windowed, monkeypatch):
    """Between two times that a step is recorded, states are written to one tensor that stays where it is."""
    kept, addresses = [], []

    def followed(work, state):
        decoding = work.__self__
        kept.append(decoding.token_states)

        def replay():
            work()
            assert decoding.token_states is kept[-1]
            addresses.append(kept[-1].data_ptr())

        return replay

    monkeypatch.setattr(RECORDING, followed)
    WAYS["cascade that grows and shrinks"].sample(windowed, ragged_batch(windowed), SETTINGS, SEEDS, RecordedLayers())
    assert len(kept) > 3  # room for 4 tokens of 14 at a time, and rows that leave
    assert len(addresses) == SETTINGS.max_new_tokens - 1


@pytest.mark.parametrize(
    ("record", "num_tokens"),
    [(None, [3]), (RecordedLayers(-2, -2), [3]), (RecordedLayers(-2, -1), [28, 3]), (RecordedLayers(-1, -2), [3, 3])],
    ids=str,
)
def test_the_last_layer_reads_no_more_of_prompts_than_is_asked_for(windowed, record, num_tokens):
    """Three last tokens, and 18 + 4 + 6 of videos."""
    seen, last = [], windowed.model.model.language_model.layers[-1]
    hook = last.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][..., 0].numel()))
    WAYS["cascade"].greedy(windowed, ragged_batch(windowed), replace(SETTINGS, max_new_tokens=1), record)
    hook.remove()
    assert seen == num_tokens


def test_nobody_listens_unless_asked(windowed, monkeypatch):
    """Plain decoding catches states as the decoder runs; without a wish for them nothing is hung on it."""

    def refused(*_):
        raise AssertionError

    monkeypatch.setattr("museg.policy.plain.captured_states", refused)
    WAYS["plain"].greedy(windowed, ragged_batch(windowed), SETTINGS)
    with pytest.raises(AssertionError):
        WAYS["plain"].greedy(windowed, ragged_batch(windowed), SETTINGS, RecordedLayers())


@pytest.mark.parametrize("layers", [RecordedLayers(token_layer=0), RecordedLayers(frame_layer=-5)], ids=str)
def test_a_layer_must_exist(windowed, engine, layers):
    with pytest.raises(ValueError, match=r"layer=(0|-5) must be between -4 .* and -1"):
        engine.greedy(windowed, ragged_batch(windowed), SETTINGS, layers)


@pytest.mark.parametrize("name", ENGINES)
def test_rollouts_hand_the_wish_on(windowed, name):
    batch, settings, layers = ragged_batch(windowed), replace(SETTINGS, engine=name), RecordedLayers()
    for rollouts in (
        sample_rollouts(windowed, batch, settings, SEEDS, layers),
        greedy_rollouts(windowed, batch, settings, layers),
    ):
        assert len(rollouts.token_states) == len(rollouts.texts) and len(rollouts.frame_states) == sum(VIDEO_TOKENS)


def test_padding_holds_no_video(windowed):
    """Even where a prompt ends with a video token, which moving padding to the right repeats."""
    batch = ragged_batch(windowed)
    ids = batch.input_ids.clone()
    ids[:, -1] = windowed.ids.video_id
    slots = video_slots(windowed, replace(batch, input_ids=ids))
    assert slots.sum(dim=1).tolist() == [count + 1 for count in VIDEO_TOKENS]
    lengths = batch.attention_mask.sum(dim=1)
    assert [int(row.nonzero()[-1]) for row in slots] == (lengths - 1).tolist()
