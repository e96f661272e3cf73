"""Features that were kept are those that the tower would make now."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from museg.data import disk_cache
from museg.data.disk_cache import DiskCache
from museg.policy import feature_cache
from museg.policy.feature_cache import FeatureCache, weights_sha256
from museg.policy.forward import encode_video
from museg.policy.tiny import build_tiny
from tests.policy.drawn_clips import drawn_clip

FEATURE_BYTES = 4 * 96 * 4  # a drawn clip of 8 frames gives 4 tokens of 96 numbers of 4 bytes


@pytest.fixture
def policy():
    return build_tiny(seed=0)


@pytest.fixture
def disk(tmp_path) -> DiskCache:
    return DiskCache(tmp_path / "features", 2**20)


def encoded(policy, *clips):
    with torch.no_grad():
        return torch.cat([encode_video(policy, clip.video) for clip in clips])


def test_a_video_is_encoded_once_while_it_is_kept(policy):
    cache = FeatureCache(policy, 2 * FEATURE_BYTES / 2**20)
    first, again, second, third = (drawn_clip(index) for index in (0, 0, 1, 2))
    assert torch.equal(cache.of([first, again, second]), encoded(policy, first, first, second))
    assert cache.num_encoded == 2
    cache.of([first])  # used later than the second now
    cache.of([third])
    assert cache.num_encoded == 3
    cache.of([first, third])
    assert cache.num_encoded == 3
    assert torch.equal(cache.of([second]), encoded(policy, second))
    assert cache.num_encoded == 4


def test_a_cache_without_room_keeps_nothing(policy):
    cache = FeatureCache(policy, (FEATURE_BYTES - 1) / 2**20)
    assert torch.equal(cache.of([drawn_clip(0)]), cache.of([drawn_clip(0)]))
    cache.of([drawn_clip(0), drawn_clip(0)])
    assert cache.num_encoded == 3


def test_features_carry_no_gradient(policy):
    assert not FeatureCache(policy, 1).of([drawn_clip(0)]).requires_grad


def test_other_frames_under_the_same_name_are_encoded(policy, disk):
    cache, clip = FeatureCache(policy, 1, disk), drawn_clip(0)
    cache.of([clip])
    frames = clip.video.frames.copy()
    frames[0, 0, 0, 0] ^= 1
    changed = replace(clip, video=replace(clip.video, frames=frames))
    reshaped = replace(clip, video=replace(clip.video, frames=np.ascontiguousarray(frames.reshape(2, 3, 56, 56))))
    for other in (changed, reshaped):
        assert torch.equal(cache.of([other]), encoded(policy, other))
    assert (cache.num_encoded, cache.num_from_disk) == (3, 0)


def test_another_process_finds_the_features_on_disk(policy, disk):
    clips = [drawn_clip(index) for index in range(3)]
    made = FeatureCache(policy, 1, disk).of(clips)
    cache = FeatureCache(build_tiny(seed=0), 0, disk)
    for _ in range(2):
        assert torch.equal(cache.of(clips), made)
    assert (cache.num_encoded, cache.num_from_disk) == (0, 6)


def test_precision_survives_the_disk_and_tells_features_apart(policy, disk):
    clip = drawn_clip(0)
    in_float32 = FeatureCache(policy, 0, disk).of([clip])
    policy.model.to(torch.bfloat16)
    made = FeatureCache(policy, 0, disk).of([clip])
    assert made.dtype == torch.bfloat16 and in_float32.dtype == torch.float32
    cache = FeatureCache(policy, 0, disk)
    assert torch.equal(cache.of([clip]), made)
    assert (cache.num_encoded, cache.num_from_disk) == (0, 1)


def test_autocast_tells_features_apart(policy, disk):
    cache, clip = FeatureCache(policy, 1, disk), drawn_clip(0)
    plain = cache.of([clip])
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cache.of([clip]), encoded(policy, clip))
    assert torch.equal(cache.of([clip]), plain)
    assert (cache.num_encoded, cache.num_from_disk) == (2, 1)  # the memory forgot, the disk did not


@pytest.fixture
def as_it_was():
    """Give threads and precision back after the test."""
    num_threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(num_threads)
    torch.set_float32_matmul_precision(precision)


def test_threads_and_precision_tell_features_apart(policy, disk, as_it_was):
    cache, clip = FeatureCache(policy, 1, disk), drawn_clip(0)
    torch.set_num_threads(1)
    for precision in ("highest", "medium"):
        torch.set_float32_matmul_precision(precision)
        cache.of([clip])
    torch.set_num_threads(2)
    cache.of([clip])
    assert (cache.num_encoded, cache.num_from_disk) == (3, 0)


def change_a_weight(policy):
    policy.model.model.visual.blocks[0].mlp.down_proj.weight[0, 0] += 1


def load_weights(policy):
    policy.model.load_state_dict(build_tiny(seed=1).model.state_dict())


def change_a_buffer(policy):
    policy.model.model.visual.rotary_pos_emb.inv_freq.mul_(2)  # no checkpoint holds it


def train_the_merger(policy):
    merger = policy.model.model.visual.merger
    for weight in merger.parameters():
        weight.grad = torch.ones_like(weight)
    torch.optim.AdamW(merger.parameters(), lr=0.1).step()


@pytest.mark.parametrize("change", [change_a_weight, change_a_buffer, load_weights, train_the_merger])
def test_changed_weights_make_other_features(policy, disk, change):
    cache, clip = FeatureCache(policy, 1, disk), drawn_clip(0)
    before = cache.of([clip])
    with torch.no_grad():
        change(policy)
    after = cache.of([clip])
    assert torch.equal(after, encoded(policy, clip)) and not torch.equal(after, before)
    assert (cache.num_encoded, cache.num_from_disk) == (2, 0)


def test_a_trained_decoder_makes_no_other_features(policy, disk):
    cache, clip = FeatureCache(policy, 1, disk), drawn_clip(0)
    cache.of([clip])
    with torch.no_grad():
        policy.model.lm_head.weight.add_(1)
    cache.of([clip])
    FeatureCache(policy, 1, disk).of([clip])
    assert cache.num_encoded == 1 and len(list(disk.folder.iterdir())) == 1


def test_other_buffers_have_other_features_on_disk(policy, disk):
    other, clip = build_tiny(seed=0), drawn_clip(0)
    change_a_buffer(other)
    made = [FeatureCache(each, 0, disk).of([clip]) for each in (policy, other)]
    assert not torch.equal(*made) and len(list(disk.folder.iterdir())) == 2
    for each, expected in zip((policy, other), made, strict=True):
        cache = FeatureCache(each, 0, disk)
        assert torch.equal(cache.of([clip]), expected) and cache.num_from_disk == 1


def test_the_digest_sees_every_weight_and_buffer(policy):
    visual = policy.model.model.visual
    weights, digests = [*visual.parameters(), *visual.buffers()], {weights_sha256(visual)}
    with torch.no_grad():
        for weight in weights:
            weight.view(-1)[-1] += 1
            digests.add(weights_sha256(visual))
    assert len(weights) > len(list(visual.parameters())) and len(digests) == 1 + len(weights)
    assert weights_sha256(build_tiny(seed=0).model.model.visual) in digests


@pytest.mark.parametrize("payload", [None, b"garbage"], ids=["a bit flipped", "whole, but no features"])
def test_a_damaged_entry_is_made_again(policy, disk, payload):
    clip = drawn_clip(0)
    made = FeatureCache(policy, 0, disk).of([clip])
    (file,) = disk.folder.iterdir()
    if payload is None:
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    else:
        disk.put(file.stem, payload)
    cache = FeatureCache(policy, 0, disk)
    assert torch.equal(cache.of([clip]), made) and cache.num_encoded == 1
    assert torch.equal(cache.of([clip]), made) and cache.num_encoded == 1


def test_a_disk_that_refuses_costs_one_line_and_no_features(policy, tmp_path, capsys):
    (tmp_path / "in_the_way").write_text("")
    cache = FeatureCache(policy, 0, DiskCache(tmp_path / "in_the_way", 2**20))
    clips = [drawn_clip(index) for index in range(3)]
    assert torch.equal(cache.of(clips), encoded(policy, *clips))
    assert capsys.readouterr().err.splitlines() == [
        f"warning: vision features are not kept on disk any more: {tmp_path / 'in_the_way'}: File exists"
    ]


def test_a_full_disk_is_still_read(policy, tmp_path, capsys, monkeypatch):
    clips, disk = [drawn_clip(index) for index in range(3)], DiskCache(tmp_path, 2**20)
    FeatureCache(policy, 0, disk).of(clips[:2])
    monkeypatch.setattr(disk_cache, "MIN_FREE_SHARE", 1.1)  # as if nothing were free
    cache = FeatureCache(policy, 0, disk)
    cache.of([clips[2]])
    assert "not kept on disk any more" in capsys.readouterr().err
    assert torch.equal(cache.of(clips[:2]), encoded(policy, *clips[:2]))
    assert (cache.num_encoded, cache.num_from_disk) == (1, 2)


def test_other_code_keeps_features_apart(policy, tmp_path, monkeypatch):
    clip, disk = drawn_clip(0), DiskCache(tmp_path, 2**20)
    FeatureCache(policy, 0, disk).of([clip])
    monkeypatch.setattr(feature_cache, "CODE_SHA256", "of another text")
    cache = FeatureCache(policy, 0, disk)
    cache.of([clip])
    assert (cache.num_encoded, cache.num_from_disk) == (1, 0)
