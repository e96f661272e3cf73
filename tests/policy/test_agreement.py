"""Rollout, training and evaluation read a prompt at the same positions, whatever its frame rate and length."""

import pytest
import torch

from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import build_prompt_batch
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from tests.policy.drawn_clips import WORDING, drawn_clip, with_frequent_stops

RATES_FPS = (0.5, 1.0, 1.33, 2.0, 4.0)
DURATIONS_S = (3, 10, 41, 97, 240)
SETTINGS = RolloutSettings(num_generations=2, temperature=1.0, max_new_tokens=12)


def batch_at(policy, fps: float):
    """Prompts about clips of 3 to 240 seconds, of very different length."""
    clips = [
        drawn_clip(index, num_frames=max(2, round(seconds * fps)), sample_rate_fps=fps)
        for index, seconds in enumerate(DURATIONS_S)
    ]
    return build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096)


@pytest.fixture
def seen_positions(policy, monkeypatch):
    """What queries and keys are really turned by, call by call: the position ids [3, rows, tokens]."""
    seen, rotary = [], policy.model.model.language_model.rotary_emb
    hook = rotary.register_forward_pre_hook(lambda _, given: seen.append(given[1]))
    yield seen
    hook.remove()


@pytest.mark.parametrize("fps", RATES_FPS)
def test_positions_are_the_same_in_rollout_and_training(policy, seen_positions, fps):
    batch = batch_at(policy, fps)
    for prompt in range(len(DURATIONS_S)):
        alone = batch.select([prompt])
        seen_positions.clear()
        rollouts = greedy_rollouts(policy, alone, SETTINGS)
        in_rollout = torch.cat(seen_positions, dim=2)  # the prompt, then all steps to come
        seen_positions.clear()
        completion_log_probs(policy, alone, rollouts.completion_ids, rollouts.completion_mask, 1)
        (in_training,) = seen_positions
        assert torch.equal(in_rollout, in_training)
        num_prompt = alone.input_ids.shape[1]
        assert torch.equal(in_training[:, :, :num_prompt], alone.position_ids)
        # the completion goes on after everything the prompt holds, the video's time included
        assert in_training[:, 0, num_prompt:].unique(dim=0).tolist() == [
            list(range(int(alone.position_ids.max()) + 1, int(alone.position_ids.max()) + 12))
        ]


@pytest.mark.parametrize("fps", RATES_FPS)
def test_log_probs_at_rollout_and_in_training_agree(policy, fps):
    policy = with_frequent_stops(policy)
    batch = batch_at(policy, fps)
    rollouts = sample_rollouts(policy, batch, SETTINGS, list(range(len(DURATIONS_S))))
    with torch.no_grad():
        trained = completion_log_probs(policy, batch, rollouts.completion_ids, rollouts.completion_mask, 2)
    assert rollouts.completion_mask.sum(dim=1).unique().numel() > 1
    torch.testing.assert_close(rollouts.log_probs, trained, rtol=0, atol=1e-4)


@pytest.mark.parametrize("fps", RATES_FPS)
def test_greedy_tokens_from_the_cache_are_those_of_a_full_forward(policy, fps):
    """Token by token, the likeliest under the whole model run over everything so far, without a cache or padding."""
    batch = batch_at(policy, fps)
    rollouts = greedy_rollouts(policy, batch, SETTINGS)
    banned = torch.tensor(policy.ids.banned_ids)
    for prompt in range(len(DURATIONS_S)):
        alone, completion = batch.select([prompt]), rollouts.completion_ids[prompt][rollouts.completion_mask[prompt]]
        num_prompt = alone.input_ids.shape[1]
        steps = torch.arange(len(completion)) + alone.next_position
        with torch.no_grad():
            logits = policy.model(
                input_ids=torch.cat([alone.input_ids[0], completion])[None],
                pixel_values_videos=alone.pixel_values,
                video_grid_thw=alone.grid_thw,
                position_ids=torch.cat([alone.position_ids, steps.expand(3, 1, -1)], dim=2),
                use_cache=False,
            ).logits[0, num_prompt - 1 : -1]
        assert logits.index_fill(1, banned, -torch.inf).argmax(dim=1).tolist() == completion.tolist()


def test_the_librarys_own_positions_would_not_agree(policy):
    """The control: with the positions transformers computes, a 41 s video is read differently."""
    alone = batch_at(policy, 2.0).select([2])
    ours = alone.position_ids
    theirs, _ = policy.model.model.get_rope_index(
        alone.input_ids,
        mm_token_type_ids=2 * alone.input_ids.eq(policy.ids.video_id).int(),
        video_grid_thw=alone.grid_thw,
        second_per_grid_ts=alone.second_per_grid_ts,
        attention_mask=alone.attention_mask,
    )
    assert not torch.equal(ours, theirs)
