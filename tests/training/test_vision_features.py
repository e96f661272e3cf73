"""A frozen vision tower looks at every clip once, for rollout, policy, reference, later steps and evaluation."""

from pathlib import Path

import pytest

from museg.policy.loading import freeze
from museg.policy.reference import Reference
from museg.training.held_out import HeldOutSet
from museg.training.museg_module import MusegModule
from museg.training.vision_features import vision_features
from tests.policy.drawn_clips import WORDING, drawn_clip
from tests.training.small_fits import copied_weights, fit, small_job, step_batch
from tests.training.test_museg_module import length_job

FROZEN = {"vision": True, "projector": True}


def frozen_module(outputs: Path, *overrides: str) -> tuple[MusegModule, list[int]]:
    """A module whose vision tower is frozen, and the patches of every call of the policy's and reference's towers."""
    job = length_job(outputs, "optimizer.warmup_steps=0", *overrides)
    policy = job.make_policy()
    freeze(policy.model, FROZEN)
    module, seen = MusegModule(policy, job, Reference(policy)), []
    for model in (policy.model, module.reference.policy.model):
        model.model.visual.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    return module, seen


def test_each_clip_is_looked_at_once(outputs):
    module, seen = frozen_module(outputs)
    fit(module, [step_batch(0), step_batch(1)])
    patches = [4 * 4, 4 * 4, 4 * 4]  # 8 frames of 28 x 28 px: 4 steps in time of 2 x 2 patches
    assert seen == patches
    held_out = HeldOutSet([drawn_clip(0), drawn_clip(7)], WORDING, module.job.rollout, 2, seed=0)
    held_out.evaluate(module.policy, ("greedy", "sampled"), module.features)
    assert seen == [*patches, 16]  # the first of the two was trained on


def test_the_numbers_are_those_of_looking_every_time(outputs):
    module, _ = frozen_module(outputs)
    steps = fit(module, [step_batch(0)])
    plain, seen = frozen_module(outputs)
    plain.features = None
    [metrics] = [step["metrics"] for step in fit(plain, [step_batch(0)])]
    assert len(seen) == 3  # rollout, policy, reference: all clips at once
    for key in ("reward/total", "loss/total", "loss/grad_norm", "train/log_prob_gap"):
        assert steps[0]["metrics"][key] == pytest.approx(metrics[key], abs=1e-5), key
    start, ours, theirs = (copied_weights(each) for each in (frozen_module(outputs)[0], module, plain))
    moved = max(float((ours[name] - start[name]).abs().max()) for name in start)
    apart = max(float((ours[name] - theirs[name]).abs().mean()) for name in start)
    assert apart < 0.05 * moved


@pytest.mark.parametrize("trained", ["vision", "projector"])
def test_a_trained_part_is_looked_through_every_time(outputs, trained):
    job = small_job(outputs)
    policy = job.make_policy()
    freeze(policy.model, FROZEN | {trained: False})
    assert vision_features(policy, job.vision_features) is None


def test_another_run_finds_them_on_disk(outputs):
    keep = ("vision_features.cache_gib=0.01", f"vision_features.cache_dir={outputs / 'features'}")
    for expected in (3, 0):
        module, seen = frozen_module(outputs, *keep)
        fit(module, [step_batch(0)])
        assert len(seen) == expected
    assert module.features.num_from_disk == 3
