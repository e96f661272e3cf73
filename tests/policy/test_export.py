"""What an exported folder holds for other software; `tests/commands/test_export.py` loads one in another process."""

import json

import pytest
import torch
from transformers import GenerationConfig, Qwen2_5_VLForConditionalGeneration

from museg.policy.export import export, video_preprocessor_facts
from museg.policy.loading import load_pretrained
from museg.video.budget import FrameBudget


def test_generation_is_greedy_as_ours_whatever_the_checkpoint_brought(own_policy, tmp_path):
    # what the published checkpoints bring
    own_policy.model.generation_config = GenerationConfig(repetition_penalty=1.05, temperature=1e-6, do_sample=True)
    export(own_policy, tmp_path)
    written = json.loads((tmp_path / "generation_config.json").read_text())
    assert written["do_sample"] is False
    assert not {"repetition_penalty", "temperature", "top_p", "top_k"} & set(written)
    assert written["suppress_tokens"] == list(own_policy.ids.banned_ids)
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == list(own_policy.ids.stop_ids)


def test_large_weights_are_split_and_found_again(own_policy, tmp_path):
    export(own_policy, tmp_path, max_shard_size="200KB")
    files = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(files) > 1 and (tmp_path / "model.safetensors.index.json").is_file()
    assert not (tmp_path / "model.safetensors").exists()
    assert {file.stat().st_mode for file in files} == {(tmp_path / "config.json").stat().st_mode}
    # one weight may be larger than the limit; no other file is
    largest = max(weight.numel() * 4 for weight in own_policy.model.parameters())
    assert max(file.stat().st_size for file in files) < max(200_000, largest) + 10_000
    loaded = load_pretrained(path=str(tmp_path)).model.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in own_policy.model.state_dict().items())


def test_weights_in_bfloat16_say_so(own_policy, tmp_path):
    own_policy.model.to(torch.bfloat16)
    export(own_policy, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path).dtype == torch.bfloat16


def test_videos_are_described_where_they_are_known(own_policy, tmp_path):
    export(own_policy, tmp_path / "without")
    assert not (tmp_path / "without" / "video_preprocessor_config.json").exists()
    export(own_policy, tmp_path / "with", budget=FrameBudget())
    video = json.loads((tmp_path / "with" / "video_preprocessor_config.json").read_text())
    assert (video["fps"], video["min_frames"], video["max_frames"]) == (2.0, 4, 448)
    assert video["size"] == {"shortest_edge": 16 * 28 * 28, "longest_edge": 768 * 28 * 28}
    assert (video["patch_size"], video["temporal_patch_size"], video["merge_size"]) == (14, 2, 2)


@pytest.mark.parametrize("height, width, num_frames", [(480, 640, 64), (1080, 1920, 448), (240, 320, 200), (56, 84, 4)])
def test_the_library_would_show_videos_about_as_large(policy, height, width, num_frames):
    """Its rule for a frame, read from its source: a share of the tokens it lets a video have."""
    budget = FrameBudget()
    video = video_preprocessor_facts(policy.model.config.vision_config, budget)
    total = int(video["max_video_tokens"] * 28 * 28 * 0.9)
    share = max(min(video["size"]["longest_edge"], total * 2 // num_frames), int(video["size"]["shortest_edge"] * 1.05))
    ours = budget.total_pixels / num_frames * 2
    assert share == pytest.approx(max(min(budget.max_pixels, ours), int(budget.min_pixels * 1.05)), rel=1e-3)


def test_no_frame_limit_leaves_it_to_the_library(policy):
    budget = FrameBudget(max_frames=None)
    assert "max_frames" not in video_preprocessor_facts(policy.model.config.vision_config, budget)
