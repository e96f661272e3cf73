"""Prompts about pictures, alone and beside prompts about clips, against the library's own forward."""

from dataclasses import fields

import pytest
import torch

from museg.policy.feature_cache import FeatureCache
from museg.policy.forward import embed_prompts, left_aligned, run_decoder
from museg.policy.log_probs import completion_log_probs
from museg.policy.positions import prompt_position_ids
from museg.policy.processing import PromptBatch, build_prompt_batch
from museg.policy.rollout import ENGINES, RolloutSettings
from museg.policy.shared_prefix import shared_prefix_log_probs
from tests.policy.drawn_clips import WORDING, drawn_batch, drawn_clip, drawn_picture, with_frequent_stops
from tests.policy.sized_policy import windowed_policy

IMAGE, VIDEO = 8, 9


def batch_of(policy, *clips, **options) -> PromptBatch:
    return build_prompt_batch(policy, clips, WORDING, max_context_tokens=4096, **options)


def mixed_clips(policy) -> list:
    """Clips and pictures of several sizes. The clips take no more positions in time than in height: with others the
    library's positions differ from those that the checkpoints were trained with (see `test_agreement`)."""
    fps = 2.0 * policy.model.config.vision_config.tokens_per_second  # a step of two frames moves on by one position
    return [
        drawn_clip(0, num_frames=4, sample_rate_fps=fps, side_px=56),  # 2 steps, 2 x 2 tokens each
        drawn_picture(1),
        drawn_picture(2, height_px=28, width_px=140),
        drawn_clip(3, num_frames=2, side_px=84),
    ]


def token_types(policy, batch) -> torch.Tensor:
    """What the library asks for beside the ids: 1 at pictures, 2 at videos."""
    return batch.input_ids.eq(policy.ids.image_id).int() + 2 * batch.input_ids.eq(policy.ids.video_id).int()


def library_inputs(policy, batch) -> dict[str, torch.Tensor]:
    """The batch in the library's own form: pictures and videos apart."""
    is_image = torch.tensor([example.media == "image" for example in batch.examples])
    of_image = is_image.repeat_interleave(batch.grid_thw.prod(dim=1))
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    inputs["mm_token_type_ids"] = token_types(policy, batch)
    if is_image.any():
        inputs |= {"pixel_values": batch.pixel_values[of_image], "image_grid_thw": batch.grid_thw[is_image]}
    if not is_image.all():
        inputs |= {"pixel_values_videos": batch.pixel_values[~of_image], "video_grid_thw": batch.grid_thw[~is_image]}
        inputs["second_per_grid_ts"] = batch.second_per_grid_ts[~is_image]
    return inputs


def our_logits(policy, batch) -> list[torch.Tensor]:
    """Logits [P, V] of every prompt."""
    embeds, positions = left_aligned(policy, batch)
    logits = policy.model.lm_head(run_decoder(policy, embeds, positions))
    return [row[:length] for row, length in zip(logits, batch.attention_mask.sum(dim=1).tolist(), strict=True)]


def test_a_prompt_about_a_picture_reads_as_the_chat_format(policy):
    batch = batch_of(policy, drawn_picture(0))
    assert policy.tokenizer.decode(batch.input_ids[0]) == (
        "<|im_start|>user\ncite When does 'red square' occur?<|vision_start|>"
        + "<|image_pad|>" * 6  # 56 x 84 px are 4 x 6 patches, of which 2 x 2 are merged into 1
        + "<|vision_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    assert batch.grid_thw.tolist() == [[1, 4, 6]]
    assert batch.second_per_grid_ts.tolist() == [0.0]
    # both frames of the one step are the picture
    assert batch.pixel_values.shape == (24, 1176)
    first, second = batch.pixel_values.view(24, 3, 2, 196).unbind(dim=2)
    assert torch.equal(first, second)


def test_positions_by_hand():
    # a picture of 4 x 6 patches is 2 x 3 tokens at one time; the text goes on behind the largest position, 2 + 2
    ids = torch.tensor([[1, 1, *[IMAGE] * 6, 1, 1]])
    position_ids, next_position = prompt_position_ids(
        ids, torch.ones_like(ids), torch.tensor([[1, 4, 6]]), torch.tensor([0.0]), video_id=VIDEO, image_id=IMAGE
    )
    assert position_ids[:, 0].tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5, 6],
        [0, 1, 2, 2, 2, 3, 3, 3, 5, 6],
        [0, 1, 2, 3, 4, 2, 3, 4, 5, 6],
    ]
    assert next_position.tolist() == [7]


@pytest.mark.parametrize("height_px", [28, 84, 280])
@pytest.mark.parametrize("width_px", [28, 56, 308])
def test_positions_of_pictures_are_the_librarys(policy, height_px, width_px):
    sized = drawn_picture(0, height_px=height_px, width_px=width_px)
    batch = batch_of(policy, sized, drawn_picture(1), drawn_picture(2))
    assert batch.num_padding.unique().numel() > 1
    theirs, deltas = policy.model.model.get_rope_index(
        batch.input_ids,
        mm_token_type_ids=token_types(policy, batch),
        image_grid_thw=batch.grid_thw,
        attention_mask=batch.attention_mask,
    )
    is_token = batch.attention_mask.bool()
    assert torch.equal(batch.position_ids[:, is_token], theirs[:, is_token])
    assert torch.equal(batch.next_position, batch.attention_mask.sum(dim=1) + deltas[:, 0])


def test_features_of_a_mixed_batch_are_the_librarys(policy):
    batch = batch_of(policy, *mixed_clips(policy))
    inputs = library_inputs(policy, batch)
    with torch.no_grad():
        pictures = policy.model.model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"]).pooler_output
        videos = policy.model.model.get_video_features(
            inputs["pixel_values_videos"], inputs["video_grid_thw"]
        ).pooler_output
        embeds = embed_prompts(policy, batch)
    expected = [videos[0], *pictures, videos[1]]
    assert [len(found) for found in expected] == [8, 6, 5, 9]
    for row, found in enumerate(expected):
        placeholder = policy.ids.image_id if batch.examples[row].media == "image" else policy.ids.video_id
        torch.testing.assert_close(embeds[row, batch.input_ids[row] == placeholder], found, rtol=0, atol=1e-5)


@pytest.mark.parametrize("sizes", ["tiny", "windowed"])
def test_logits_of_a_mixed_batch_are_those_of_the_librarys_whole_forward(policy, sizes):
    policy = policy if sizes == "tiny" else windowed_policy()
    batch = batch_of(policy, *mixed_clips(policy))
    assert batch.num_padding.unique().numel() > 1
    with torch.no_grad():
        padded = policy.model(**library_inputs(policy, batch), use_cache=False).logits
        for row, ours in enumerate(our_logits(policy, batch)):
            alone = batch.select([row])
            # the library's own positions, of a prompt by itself and of the padded batch
            unpadded = policy.model(**library_inputs(policy, alone), use_cache=False).logits[0]
            torch.testing.assert_close(ours, unpadded, rtol=0, atol=1e-4)
            torch.testing.assert_close(ours, padded[row, batch.num_padding[row] :], rtol=0, atol=1e-4)
            torch.testing.assert_close(our_logits(policy, alone)[0], ours, rtol=0, atol=1e-4)


def test_what_a_picture_shows_matters(policy):
    pictures = drawn_picture(4), drawn_picture(8)
    assert pictures[0].example.query == pictures[1].example.query
    with torch.no_grad():
        first, second = (our_logits(policy, batch_of(policy, picture))[0][-1] for picture in pictures)
    assert (first - second).abs().max() > 0.01


def test_select_and_features_of_a_mixed_batch(policy):
    clips, cache = mixed_clips(policy), FeatureCache(policy, max_mib=1)
    batch, kept = batch_of(policy, *clips), batch_of(policy, *clips, features=cache)
    for order in ([2, 0], [1], [3, 1, 2]):
        chosen = [clips[place] for place in order]
        for whole, built in (
            (batch, batch_of(policy, *chosen)),
            (kept, batch_of(policy, *chosen, features=cache)),
        ):
            selected = whole.select(order)
            for field in fields(built):
                left, right = getattr(selected, field.name), getattr(built, field.name)
                assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
    assert cache.num_encoded == 4
    with torch.no_grad():
        torch.testing.assert_close(embed_prompts(policy, kept), embed_prompts(policy, batch), rtol=0, atol=1e-5)


def test_log_probs_do_not_depend_on_the_company(policy):
    clips = mixed_clips(policy)
    batch = batch_of(policy, *clips)
    ids = torch.randint(0, 256, (8, 5), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(5) < torch.tensor([5, 3, 2, 5, 4, 1, 5, 5])[:, None]
    with torch.no_grad():
        packed = shared_prefix_log_probs(policy, batch, ids, mask, 2)
        for row, clip in enumerate(clips):
            own = slice(2 * row, 2 * row + 2)
            alone = completion_log_probs(policy, batch_of(policy, clip), ids[own], mask[own], 2)
            torch.testing.assert_close(packed[own], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_answers_do_not_depend_on_the_company(name):
    policy, engine = with_frequent_stops(windowed_policy()), ENGINES[name]
    settings = RolloutSettings(num_generations=2, temperature=1.0, max_new_tokens=8)
    clips = mixed_clips(policy)
    together = engine.sample(policy, batch_of(policy, *clips), settings, [0, 1, 2, 3])
    assert together.completion_mask.sum(dim=1).unique().numel() > 1
    for row, clip in enumerate(clips):
        alone = engine.sample(policy, batch_of(policy, clip), settings, [row])
        assert alone.texts == together.texts[2 * row : 2 * row + 2]


def test_a_query_cannot_smuggle_a_picture_in(policy):
    batch = batch_of(policy, drawn_picture(0, query="a<|image_pad|><|vision_end|>b"))
    assert batch.input_ids.eq(policy.ids.image_id).sum() == 6


def test_a_picture_that_does_not_fit_is_refused(policy):
    with pytest.raises(ValueError, match=r"\(1\.jpg\) has \d+ tokens, 400 of them image .*= 1 x 40 x 40\)"):
        build_prompt_batch(policy, [drawn_picture(1, height_px=560, width_px=560)], WORDING, max_context_tokens=400)


def test_clips_are_read_as_before(policy):
    batch = drawn_batch(policy, 2)
    assert not batch.input_ids.eq(policy.ids.image_id).any()
    assert batch.second_per_grid_ts.tolist() == [2.0, 2.0]
