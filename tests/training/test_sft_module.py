"""Supervised steps: the loss is the mean over all demonstrated tokens, however the step is split."""

from dataclasses import replace

import pytest
import torch

from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.temporal.segments import Segment
from museg.training.sft_module import SftModule, demonstrate
from tests.policy.drawn_clips import drawn_clip
from tests.training.small_fits import copied_weights, fit, small_job, step_batch

CITING = ("method=sft", "method.cites_times_share=1", "optimizer.warmup_steps=0")


def sft_module(outputs, *overrides) -> SftModule:
    job = small_job(outputs, *CITING, *overrides)
    return SftModule(job.make_policy(), job, **job.module_options)


def first_gradient(outputs, monkeypatch, *overrides) -> tuple[float, dict]:
    """Loss and gradient of a first step, before clipping."""
    seen = {}

    def remember_and_clip(self, step, example_ids):
        seen.update({name: parameter.grad.clone() for name, parameter in self.model.named_parameters()})
        return super(SftModule, self).clip(step, example_ids)

    monkeypatch.setattr(SftModule, "clip", remember_and_clip)
    [step] = fit(sft_module(outputs, *overrides), [step_batch(0)])
    return step["metrics"]["loss/total"], seen


def test_the_loss_is_the_mean_over_tokens(outputs):
    module, batch = sft_module(outputs), step_batch(0)
    texts = [demonstrate(clip.example, cites_times=True) for clip in batch.clips]
    ids, mask = encode_completions(module.policy, texts)
    assert len(set(mask.sum(dim=1).tolist())) > 1  # lengths differ, or the mean over sequences would be the same
    with torch.no_grad():
        log_probs = completion_log_probs(module.policy, module.prompts_of(batch, "timestamp"), ids, mask, 1)
    expected = -float((log_probs * mask).sum() / mask.sum())
    [step] = fit(module, [batch])
    assert step["metrics"]["loss/total"] == pytest.approx(expected, rel=1e-5)
    assert step["metrics"]["data/num_prompts"] == 3
    assert step["completions"] == []


def test_micro_batches_add_up(outputs, monkeypatch):
    loss, whole = first_gradient(outputs, monkeypatch)
    parts_loss, added_up = first_gradient(outputs, monkeypatch, "trainer.micro_batch_prompts=1")
    assert parts_loss == pytest.approx(loss, rel=1e-5)
    assert max(float(gradient.norm()) for gradient in whole.values()) > 1e-3
    for name, gradient in whole.items():
        assert torch.allclose(added_up[name], gradient, atol=1e-5, rtol=1e-4), name


def test_it_learns_the_demonstrations(outputs):
    module = sft_module(outputs, "optimizer.lr=2e-3", "phase.steps=15", "phase.total_steps=15")
    losses = [step["metrics"]["loss/total"] for step in fit(module, map(step_batch, range(15)))]
    assert losses[-1] < losses[0] / 2, losses
    assert module.steps_done == 15


def test_a_step_without_any_clip_is_counted_and_learns_nothing(outputs):
    module = sft_module(outputs)
    before = copied_weights(module)
    [step] = fit(module, [step_batch(0, num_prompts=0, num_asked=2)])
    assert step["metrics"] == {"data/num_prompts": 0.0} and module.steps_done == 1
    assert all(torch.equal(weight, before[name]) for name, weight in copied_weights(module).items())


@pytest.mark.parametrize(
    ("targets", "answer"),
    [
        ((Segment(1.0, 2.5),), "1.0-2.5"),
        ((Segment(1.0, 2.0), Segment(3.0, 4.0)), "1.0-2.0 3.0-4.0"),
        ((Segment(1.25, 2.0),), "1.25-2.00"),  # one decimal would move the boundary
    ],
)
def test_decimals_of_a_demonstration(targets, answer):
    example = replace(drawn_clip(0).example, targets=targets)
    assert demonstrate(example, cites_times=False) == f"<think>look for the red square</think><answer>{answer}</answer>"


def test_a_demonstration_can_list_by_time():
    late_first = replace(drawn_clip(0).example, targets=(Segment(6.0, 8.0), Segment(1.0, 9.0), Segment(1.0, 4.0)))
    assert "<answer>6.0-8.0 1.0-9.0 1.0-4.0</answer>" in demonstrate(late_first, cites_times=False)
    by_time = demonstrate(late_first, cites_times=True, by_time=True)
    assert "from 1.0 to 4.0 and 1.0 to 9.0 and 6.0 to 8.0</think>" in by_time
    assert "<answer>1.0-4.0 1.0-9.0 6.0-8.0</answer>" in by_time


def test_the_order_of_demonstrations_is_an_option(outputs):
    batch = step_batch(0)
    clips = [
        replace(clip, example=replace(clip.example, targets=(Segment(6.0, 8.0), Segment(1.0, 4.0))))
        for clip in batch.clips
    ]
    sorted_clips = [
        replace(clip, example=replace(clip.example, targets=tuple(sorted(clip.example.targets)))) for clip in clips
    ]

    def loss(by_time, clips):
        [step] = fit(sft_module(outputs, f"method.by_time={by_time}"), [replace(batch, clips=clips)])
        return step["metrics"]["loss/total"]

    assert loss(True, clips) == loss(False, sorted_clips) != loss(False, clips)
