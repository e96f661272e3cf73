"""Heads that begin from their seed, cosines at their precision, and steps that are pooled in order."""

from dataclasses import replace

import pytest
import torch

from museg.meco.alignment import AlignmentHeads, cosines, pooled_steps, sample_cosines
from museg.policy.forward import embed_prompts, encode_video
from museg.policy.loading import Policy
from museg.policy.processing import build_prompt_batch
from museg.policy.tiny import build_tiny
from tests.policy.drawn_clips import WORDING, drawn_clip

WIDTH = 12


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """Random numbers that depend on shape and seed alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rows_of(heads: AlignmentHeads, tokens: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
    """The cosines of a single sample."""
    return sample_cosines(heads, [tokens], [steps])[0][0]


def test_heads_begin_from_their_seed_alone():
    before = torch.get_rng_state()
    first, other = AlignmentHeads(WIDTH, seed=1), AlignmentHeads(WIDTH, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again = AlignmentHeads(WIDTH, seed=1)
    assert all(weight.equal(again.state_dict()[name]) for name, weight in first.state_dict().items())
    assert not first.token_head[1].weight.equal(other.token_head[1].weight)
    assert not first.token_head[1].weight.equal(first.frame_head[1].weight)
    assert first.scale.item() == pytest.approx(1 / 0.07)
    assert AlignmentHeads(WIDTH, temperature=0.5).scale.item() == pytest.approx(2.0)


def test_heads_survive_as_data(tmp_path):
    heads = AlignmentHeads(WIDTH, seed=1)
    torch.save(heads.state_dict(), tmp_path / "heads.pt")
    other = AlignmentHeads(WIDTH, temperature=1.0)
    other.load_state_dict(torch.load(tmp_path / "heads.pt", weights_only=True))
    tokens, steps = drawn(2, WIDTH), drawn(3, WIDTH, seed=1)
    assert torch.equal(rows_of(other, tokens, steps), rows_of(heads, tokens, steps))
    assert torch.equal(other.scale, heads.scale)


def test_steps_may_be_made_once_for_all_tokens():
    """As in decoding, where tokens come one by one."""
    heads = AlignmentHeads(WIDTH)
    tokens, steps = drawn(3, WIDTH), drawn(5, WIDTH, seed=1)
    vectors = heads.frames(steps)
    rows = torch.cat([cosines(heads.tokens(token[None]), vectors) for token in tokens])
    torch.testing.assert_close(rows, rows_of(heads, tokens, steps), rtol=0, atol=1e-6)
    assert rows.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_cosines_are_float32_whatever_the_states_are(weights):
    heads = AlignmentHeads(WIDTH).to(weights)
    tokens, steps = drawn(3, WIDTH).bfloat16(), drawn(5, WIDTH, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found, vectors = rows_of(heads, tokens, steps), heads.tokens(tokens)
        assert torch.equal(cosines(vectors, heads.frames(steps)), found)
    assert found.dtype == vectors.dtype == heads.scale.dtype == torch.float32
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3), rtol=0, atol=1e-6)  # bfloat16 would be 1e-3 off
    assert torch.equal(vectors @ heads.frames(steps).T, cosines(vectors, heads.frames(steps)))


# steps of the grid


def test_steps_are_means_in_the_order_of_time():
    # 3 steps of 2 x 4 patches, 2 tokens each: token k of step t holds 10 t + k
    hidden = torch.tensor([0.0, 1, 10, 11, 20, 21])[:, None].expand(-1, 5)
    assert pooled_steps(hidden, (3, 2, 4), 2).tolist() == [[0.5] * 5, [10.5] * 5, [20.5] * 5]
    assert pooled_steps(hidden[:2], torch.tensor([1, 2, 4]), 2).tolist() == [[0.5] * 5]  # a single step
    swapped = pooled_steps(hidden[[1, 0, 3, 2, 5, 4]], (3, 2, 4), 2)
    assert torch.equal(swapped, pooled_steps(hidden, (3, 2, 4), 2))  # the order within a step does not matter
    assert pooled_steps(torch.zeros(0, 5), (0, 2, 4), 2).shape == (0, 5)
    assert pooled_steps(torch.full((512, 1), 1 / 3).bfloat16(), (1, 32, 64), 2).dtype == torch.float32


@pytest.mark.parametrize(("num_tokens", "grid"), [(5, (3, 2, 4)), (12, (3, 2, 4)), (6, (3, 4, 8))])
def test_tokens_must_fill_the_grid(num_tokens, grid):
    with pytest.raises(ValueError, match=rf"^{num_tokens} video tokens for a grid t x h x w = 3 x .* this one video"):
        pooled_steps(torch.zeros(num_tokens, 2), grid, 2)


@pytest.fixture
def policy() -> Policy:
    return build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1)


@torch.no_grad()
def test_a_step_is_a_pair_of_frames_in_the_vision_tower_too(policy):
    """Other pixels in one pair, or its two frames in the other order, change the state of this step and no other."""
    video = drawn_clip(0, num_frames=8, side_px=56).video

    def steps(order: list[int]) -> torch.Tensor:
        return pooled_steps(encode_video(policy, replace(video, frames=video.frames[order])), (4, 4, 4), 2)

    before = steps([0, 1, 2, 3, 4, 5, 6, 7])
    for order in ([0, 1, 2, 3, 5, 4, 6, 7], [0, 1, 2, 3, 0, 7, 6, 7]):
        changed = (steps(order) - before).abs().amax(dim=1) > 1e-6
        assert changed.tolist() == [False, False, True, False]
    whole_steps = steps([6, 7, 2, 3, 4, 5, 0, 1])  # first and last step in each other's place
    torch.testing.assert_close(whole_steps, before[[3, 1, 2, 0]], rtol=0, atol=1e-6)


@torch.no_grad()
def test_videos_of_different_grids_in_one_batch(policy):
    """Each is pooled by its own grid, wherever the padding before its prompt ends."""
    shapes = [{"num_frames": 8}, {"num_frames": 3, "side_px": 56}, {"num_frames": 2}]
    clips = [drawn_clip(index, **shape) for index, shape in enumerate(shapes)]
    batch = build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096)
    assert batch.num_padding.unique().numel() > 1
    embeds = embed_prompts(policy, batch)
    for row, (clip, grid) in enumerate(zip(clips, batch.grid_thw, strict=True)):
        is_video = (batch.input_ids[row] == policy.ids.video_id) & batch.attention_mask[row].bool()
        found = pooled_steps(embeds[row][is_video], grid, 2)
        assert len(found) == grid[0] == -(-len(clip.video.frames) // 2)
        expected = pooled_steps(encode_video(policy, clip.video), grid, 2)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_temperature_of_nothing_is_told():
    with pytest.raises(ValueError, match=r"temperature=0\.0 must be above 0"):
        AlignmentHeads(WIDTH, temperature=0.0)
