"""One reinforcement step on real tiny weights: what it changes, what it reports, and when it refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
import torch

from museg.dialogue.responses import ParsedResponse
from museg.metrics.keys import columns
from museg.policy.adapter import TRAINED, attach, is_of
from museg.policy.reference import reference_of
from museg.policy.rollout import sample_rollouts
from museg.rewards.base import Reward
from museg.rewards.mix import RewardMix
from museg.temporal.segments import Segment
from museg.training.museg_module import MusegModule
from tests.training.small_fits import copied_weights, fit, small_job, step_batch


@dataclass(frozen=True)
class LengthReward(Reward):
    """Characters written, in tens: random weights earn different amounts of it."""

    def __call__(self, response: ParsedResponse, targets: Sequence[Segment]) -> float:
        return len(response.text) / 10


def length_job(outputs, *overrides):
    mix = RewardMix({"length": LengthReward(), "timestamp": LengthReward()}, {"timestamp": 2.0})
    return replace(small_job(outputs, *overrides), reward=mix)


def museg_module(job) -> MusegModule:
    policy = job.make_policy()
    if policy.lora:
        attach(policy, seed=0)
    return MusegModule(policy, job, reference_of(policy))


@pytest.fixture
def module(outputs) -> MusegModule:
    return museg_module(length_job(outputs, "optimizer.warmup_steps=0"))


def test_a_first_step_is_on_policy(module):
    [step] = fit(module, [step_batch(0)])
    metrics = step["metrics"]
    assert metrics["loss/kl"] == pytest.approx(0, abs=1e-6)  # the reference is still the policy
    assert metrics["loss/clip_fraction"] == 0
    assert metrics["train/log_prob_gap"] < 1e-4
    # Advantages add up to 0 in each group, the ratio is 1 and the KL 0: the mean over sequences is 0.
    assert metrics["loss/total"] == pytest.approx(0, abs=1e-5)
    assert metrics["loss/grad_norm"] > 0
    assert metrics["data/num_prompts"] == 3
    assert module.steps_done == 1


def test_the_reference_stays_and_the_policy_leaves_it(module):
    before = copied_weights(module)
    steps = fit(module, [step_batch(0), step_batch(1)])
    assert all(torch.equal(weight, before[name]) for name, weight in module.reference.policy.model.state_dict().items())
    assert steps[1]["metrics"]["loss/kl"] > 0


def test_what_is_rewarded_becomes_more_frequent(outputs):
    steps, rates = ("phase.steps=30", "phase.total_steps=30"), ("optimizer.lr=2e-3", "optimizer.warmup_steps=0")
    job = length_job(outputs, *steps, *rates, "rollout.num_generations=8")
    rewards = [step["metrics"]["reward/total"] for step in fit(museg_module(job), map(step_batch, range(30)))]
    assert sum(rewards[-5:]) > 1.3 * sum(rewards[:5]), rewards


def test_terms_follow_the_phase_and_every_metric_has_a_column(module):
    steps = [step["metrics"] for step in fit(module, [step_batch(step) for step in range(4)])]
    known = columns(module.job.reward.term_names)
    for number, metrics in enumerate(steps):
        assert metrics.keys() <= set(known)
        assert ("reward/timestamp" in metrics) == (number < 2)  # the plain phase switches this name off
        weight = 3 if number < 2 else 1
        assert metrics["reward/total"] == pytest.approx(weight * metrics["reward/length"])


def test_sampled_texts_are_recorded_where_asked(outputs):
    job = length_job(outputs, "validation.completions_every_steps=2")
    steps = fit(museg_module(job), [step_batch(step) for step in range(3)])
    assert [len(step["completions"]) for step in steps] == [12, 0, 12]  # 3 prompts x 4 generations
    for record in steps[0]["completions"]:
        assert record["step"] == 1 and record["phase"] == "timestamp"
        assert record["terms"]["length"] == len(record["text"]) / 10
        assert record["reward"] == pytest.approx(3 * record["terms"]["length"])
    assert {record["example_id"] for record in steps[0]["completions"]} == {"drawn:0", "drawn:1", "drawn:2"}


def test_a_step_without_any_clip_is_counted_and_learns_nothing(module):
    before = copied_weights(module)
    [step] = fit(module, [step_batch(0, num_prompts=0, num_asked=3)])
    assert step == {"metrics": {"data/num_prompts": 0.0}, "completions": []}
    assert module.steps_done == 1
    assert all(torch.equal(weight, before[name]) for name, weight in copied_weights(module).items())


def test_a_rollout_does_not_depend_on_the_step_losing_a_clip(outputs):
    """Its randomness comes from the clip's place in the step as asked for, not from its place among those left."""
    texts = []
    for missing in (None, 0):
        batch = step_batch(0)
        batch = replace(batch, clips=[clip for clip in batch.clips if clip.position != missing])
        [step] = fit(museg_module(length_job(outputs)), [batch])
        texts.append({(r["example_id"], r["text"]) for r in step["completions"] if r["example_id"] != "drawn:0"})
    assert texts[0] == texts[1]


def test_the_released_learning_rate_moves_float32_masters_under_bfloat16(outputs):
    overrides = ("optimizer.lr=1.5e-6", "optimizer.warmup_steps=0", "trainer.precision=bf16-mixed")
    module = museg_module(length_job(outputs, *overrides))
    before = copied_weights(module)
    [step] = fit(module, [step_batch(0)], precision="bf16-mixed")
    assert step["metrics"]["train/learning_rate"] == 1.5e-6
    assert step["metrics"]["loss/grad_norm"] > 0
    after = copied_weights(module)
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    for name in (name for name in before if name.endswith("mlp.down_proj.weight")):
        # Adam's first step is the learning rate for every weight; most weights would lose it in bfloat16.
        assert ((after[name] - before[name]).abs().max() - 1.5e-6).abs() < 0.1e-6
        assert (after[name] != before[name]).float().mean() > 0.9
        assert (after[name].bfloat16() != before[name].bfloat16()).float().mean() < 0.1


def test_a_step_is_the_same_with_and_without_sharing_the_prefix(outputs):
    """Policy and reference both: the second step has a KL term."""
    sides = []
    for shared in ("true", "false"):
        module = museg_module(length_job(outputs, "optimizer.warmup_steps=0", f"objective.shared_prefix={shared}"))
        sides.append([step["metrics"] for step in fit(module, [step_batch(0), step_batch(1)])])
    for ours, plain in zip(*sides, strict=True):
        numbers = [name for name in plain if not name.startswith("time/") and name != "train/log_prob_gap"]
        assert {name: ours[name] for name in numbers} == pytest.approx(
            {n: plain[n] for n in numbers}, rel=1e-3, abs=1e-5
        )
    assert sides[0][1]["loss/kl"] > 0


@pytest.mark.parametrize("correction", ["truncate", "mask"])
def test_a_step_is_corrected_for_the_gap_between_sampling_and_training(outputs, correction, monkeypatch):
    """Rollouts that say of every token that it was e times less likely than it is: all weights are beyond the cap."""

    def shifted_rollouts(*inputs):
        rollouts = sample_rollouts(*inputs)
        return replace(rollouts, log_probs=rollouts.log_probs - 1)

    overrides = ("optimizer.warmup_steps=0", "objective.beta=0", f"objective.importance={correction}")
    plain, found = (fit(museg_module(length_job(outputs, *some)), [step_batch(0)])[0] for some in ((), overrides))
    assert "loss/importance_fraction" not in plain["metrics"]
    assert found["metrics"]["loss/importance_fraction"] == 0  # a real gap is far below a factor of 2
    monkeypatch.setattr("museg.training.museg_module.sample_rollouts", shifted_rollouts)
    metrics = fit(museg_module(length_job(outputs, *overrides)), [step_batch(0)])[0]["metrics"]
    assert metrics["loss/importance_fraction"] == pytest.approx(1)
    assert metrics["train/log_prob_gap_mean"] == pytest.approx(1, abs=1e-3)
    factor = {"truncate": 2, "mask": 0}[correction]  # of the gradient, and there is no KL term
    assert metrics["loss/grad_norm"] == pytest.approx(factor * found["metrics"]["loss/grad_norm"], rel=1e-3)


def test_a_fit_begins_in_training_mode_with_exact_frequencies(module):
    """Pretrained weights come in evaluation mode; DeepSpeed rounds a module, buffers and all, before the fit."""
    exact = {name: buffer.clone() for name, buffer in module.model.named_buffers()}
    module.model.eval()
    module.model.bfloat16()
    assert any(not torch.equal(buffer.float(), exact[name]) for name, buffer in module.model.named_buffers())
    module.on_fit_start()
    assert module.model.training
    assert all(torch.equal(buffer, exact[name]) for name, buffer in module.model.named_buffers())
    assert module.reference.policy.model.dtype == torch.bfloat16


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_adapter_learns_and_nothing_else(outputs, precision):
    overrides = ("model.lora.rank=4", "optimizer.warmup_steps=0", f"trainer.precision={precision}")
    module = museg_module(length_job(outputs, *overrides))
    before = copied_weights(module)
    first, second = (step["metrics"] for step in fit(module, [step_batch(0), step_batch(1)], precision))
    after = copied_weights(module)
    changed = {name for name in before if not torch.equal(after[name], before[name])}
    assert changed == {name for name in before if is_of(name, TRAINED)}
    assert first["loss/kl"] == 0 < second["loss/kl"]  # it begins as its reference, bit by bit
    assert first["loss/grad_norm"] > 0


def test_a_step_with_an_adapters_dropout_comes_out_the_same_again(outputs):
    """Whatever was drawn before; and another step draws something else."""
    overrides = ("model.lora.rank=4", "optimizer.warmup_steps=0", "optimizer.lr=1e-2", "objective.beta=1")
    sides = []
    for dropout in ("0.5", "0.5", "0"):
        torch.rand(len(sides))
        module = museg_module(length_job(outputs, *overrides, f"model.lora.dropout={dropout}"))
        sides.append([step["metrics"]["loss/grad_norm"] for step in fit(module, [step_batch(0), step_batch(1)])])
    assert sides[0] == sides[1] and sides[0] != sides[2]


def test_without_a_kl_term_there_is_no_reference(outputs):
    job = length_job(outputs, "objective.beta=0", "optimizer.warmup_steps=0")
    assert not MusegModule.needs_reference(job)
    [step] = fit(MusegModule(job.make_policy(), job), [step_batch(0)])
    assert step["metrics"]["loss/kl"] == 0 and step["metrics"]["loss/grad_norm"] > 0
