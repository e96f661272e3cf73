"""Frame counts, frame numbers and sizes equal those of the release in 800 recorded planning cases."""

import json

import pytest

from museg.video.budget import FrameBudget
from museg.video.sampling import sample_indices, sampled_fps
from tests.shared import ORACLES, require

BUDGETS = {"train": FrameBudget(), "eval": FrameBudget(max_frames=None)}


def test_all_recorded_plans_are_reproduced():
    cases = json.loads(require(ORACLES / "video_plan.json").read_text())["cases"]
    num_refused = num_same = 0
    for case in cases:
        budget = BUDGETS[case["mode"]]
        if "error" in case:
            with pytest.raises(ValueError, match="at least 2"):
                budget.num_frames(case["total_frames"], case["video_fps"])
            num_refused += 1
            continue
        num_frames = budget.num_frames(case["total_frames"], case["video_fps"])
        indices = sample_indices(case["total_frames"], num_frames)
        ours = {
            "nframes": num_frames,
            "sample_fps": sampled_fps(case["total_frames"], num_frames, case["video_fps"]),
            "resized": list(budget.frame_size(num_frames, case["height"], case["width"])),
            "idx_head": indices[: len(case["idx_head"])].tolist(),
            "idx_tail": indices[-len(case["idx_tail"]) :].tolist(),
            "idx_sum": int(indices.sum()),
        }
        assert ours == {key: case[key] for key in ours}, case
        num_same += 1
    assert (num_same, num_refused) == (772, 28)
