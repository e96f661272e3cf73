"""Drawn clips, plain and hard, fit what the other groups are set to by default: one override is enough."""

import pytest

from museg.config.command_line import composed_jobs
from museg.config.validation import checked_settings
from museg.dialogue.demonstrations import demonstration
from museg.policy.tiny_tokenizer import tiny_tokenizer
from museg.temporal.segments import Segment
from tests.config.options import CONF, compose


@pytest.mark.parametrize("option", ["synthetic", "synthetic_hard"])
def test_no_frame_and_no_segment_is_cut_off(option):
    settings = checked_settings(compose(f"dataset={option}"))
    clips, budget = settings["dataset"], settings["video"]["budget"]
    assert clips["num_frames"] <= budget["max_frames"]
    assert clips["num_frames"] // 2 * clips["side_px"] ** 2 <= budget["total_pixels"]  # two frames share a token
    times = [Segment(4.0 * k, 4.0 * k + 3) for k in range(clips["max_target_segments"])]
    longest = demonstration("Find all times of 'magenta triangle'.", times, cites_times=True)
    assert len(tiny_tokenizer()(longest).input_ids) + 1 <= settings["rollout"]["max_new_tokens"]  # and the end token


def test_matchings_are_swept_on_hard_clips_by_one_override():
    overrides = ["experiment=ablate_matching", "dataset=synthetic_hard"]
    members = [checked_settings(config) for config in composed_jobs(overrides, CONF, is_multirun=True)]
    assert len(members) == 4 * 3
    assert all(member["dataset"]["unordered"] and member["dataset"]["overlapping"] for member in members)
    assert all(member["cold_start"]["by_time"] for member in members)
