"""MeCo's steps: the loss is what an independent computation says, and what is read later is what was learnt."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings
from museg.meco.sample_states import sample_states, similarity_rows
from museg.meco.structure import Kind
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.recorded_layers import video_grids
from museg.policy.recorded_log_probs import recorded_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts, sample_rollouts
from museg.temporal.segments import Segment
from museg.training.meco_module import MecoModule
from tests.policy.drawn_clips import drawn_clip
from tests.training.small_fits import copied_weights, fit, small_job, step_batch

MECO = ("method=meco", "prompt=meco_tiny", "phase=structure", "optimizer.warmup_steps=0")
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def meco_module(outputs, *overrides) -> MecoModule:
    job = small_job(outputs, *MECO, *overrides)
    policy, heads = MecoModule.prepared(job.make_policy(), job.seed, **job.module_options)
    return MecoModule(policy, job, heads=heads, **job.module_options)


def clips():
    """An event in the middle of eight seconds; two in six seconds at two frames a second; words instead of times."""
    first, second, third = drawn_clip(0), drawn_clip(1, num_frames=12, sample_rate_fps=2.0), drawn_clip(2)
    targets = (Segment(4.0, 5.0), Segment(0.0, 1.5))  # in the order of the annotation
    answer = replace(third.example, targets=(), response="a red square")
    return [
        replace(first, example=replace(first.example, targets=(Segment(3.0, 5.0),))),
        replace(second, example=replace(second.example, targets=targets, captions=("late", "early"))),
        replace(third, example=answer),
    ]


def batch(step: int = 0):
    return replace(step_batch(step), clips=clips())


def test_the_texts_are_captions_by_time_or_words(outputs):
    rules = meco_module(outputs).rules
    texts = [rules.structure_of(clip).text for clip in clips()]
    # gaps: 3 s before, 3 s behind; none before, 2.5 s between, 1 s behind
    assert texts[0] == "<tst>\nred square<ent>\n<tst>"
    assert texts[1] == "early<ent>\n<tst>\nlate<ent>"
    assert texts[2] == "a red square"


def numpy_unit(head: torch.nn.Sequential, states: torch.Tensor) -> np.ndarray:
    """What a head makes of states, as unit vectors, in float64."""
    from scipy.special import erf

    norm = head[0]
    x = states.detach().double().numpy()
    weights = {name: weight.detach().double().numpy() for name, weight in head.state_dict().items()}
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + norm.eps)
    x = x * weights["0.weight"] + weights["0.bias"]
    x = x @ weights["1.weight"].T + weights["1.bias"]
    x = x * (1 + erf(x / np.sqrt(2))) / 2
    x = x @ weights["3.weight"].T + weights["3.bias"]
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def numpy_loss(heads: AlignmentHeads, tokens: torch.Tensor, steps: torch.Tensor, positives: list[list[int]]) -> list:
    """Cross-entropy of each token over the steps, its target spread over its positives."""
    logits = (
        np.exp(heads.log_scale.item()) * numpy_unit(heads.token_head, tokens) @ numpy_unit(heads.frame_head, steps).T
    )
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return [-log_probs[row, chosen].mean() for row, chosen in enumerate(positives)]


def test_the_loss_is_what_an_independent_computation_says(outputs):
    module = meco_module(outputs, "method.weight=0.5")
    states = []
    for clip in clips()[:2]:  # each alone, without padding
        alone = replace(step_batch(0), clips=[clip])
        prompts = module.prompts_of(alone, "structure")
        ids, mask = encode_completions(module.policy, [module.rules.structure_of(clip).text])
        found = recorded_log_probs(module.policy, prompts, ids, mask, module.layers)
        written = [module.policy.tokenizer.decode([token]) for token in ids[0].tolist()]
        places = [place for place, token in enumerate(written) if token in ("<ent>", "<tst>")]
        states.append((found.token_states[0][places], found.frame_states))
    # one token a step, two seconds or (at two frames a second) one; an inclusive end adds the step it lies in
    of_first = numpy_loss(module.heads, *states[0], [[0, 1], [1, 2], [2, 3]])  # <tst> 0-3, <ent> 3-5, <tst> 5-8
    of_second = numpy_loss(module.heads, *states[1], [[0, 1], [1, 2, 3, 4], [4, 5]])  # 0-1.5, 1.5-4, 4-5
    kinds = [of_first[1], (of_first[0] + of_first[2]) / 2, (of_second[0] + of_second[2]) / 2, of_second[1]]
    expected = ((kinds[0] + kinds[1]) / 2 + (kinds[2] + kinds[3]) / 2) / 2  # the third clip has no token

    texts = [module.rules.structure_of(clip).text for clip in clips()]
    ids, mask = encode_completions(module.policy, texts)
    with torch.no_grad():
        log_probs = completion_log_probs(module.policy, module.prompts_of(batch(), "structure"), ids, mask, 1)
    of_text = -float((log_probs * mask).sum() / mask.sum())

    [step] = fit(module, [batch()])
    metrics = step["metrics"]
    assert metrics["loss/structure"] == pytest.approx(expected, rel=1e-5)
    assert metrics["loss/text"] == pytest.approx(of_text, rel=1e-5)
    assert metrics["loss/total"] == pytest.approx(of_text + 0.5 * expected, rel=1e-5)
    assert set(module.metric_keys) <= metrics.keys()


def first_gradient(outputs, monkeypatch, *overrides) -> tuple[dict, dict]:
    """Metrics and gradients of a first step, before clipping."""
    seen = {}

    def remember_and_clip(self, step, example_ids):
        seen.update({name: weight.grad.clone() for name, weight in self.named_parameters() if weight.grad is not None})
        return super(MecoModule, self).clip(step, example_ids)

    monkeypatch.setattr(MecoModule, "clip", remember_and_clip)
    [step] = fit(meco_module(outputs, *overrides), [batch()])
    return step["metrics"], seen


def test_micro_batches_add_up(outputs, monkeypatch):
    metrics, whole = first_gradient(outputs, monkeypatch)
    in_parts, added_up = first_gradient(outputs, monkeypatch, "trainer.micro_batch_prompts=1")
    for key in ("loss/total", "loss/text", "loss/structure", "structure/kl", "structure/hit_at_1"):
        assert in_parts[key] == pytest.approx(metrics[key], rel=1e-5), key
    for name in ("heads.log_scale", "heads.token_head.1.weight", "heads.frame_head.3.bias"):
        assert float(whole[name].norm()) > 0, name
    assert whole["model.model.visual.patch_embed.proj.weight"].norm() > 0
    for name, gradient in whole.items():
        assert torch.allclose(added_up[name], gradient, atol=1e-5, rtol=1e-4), name


def test_it_learns_texts_and_places(outputs):
    module = meco_module(outputs, "optimizer.lr=2e-3", "phase.total_steps=20")
    steps = [step["metrics"] for step in fit(module, map(batch, range(20)))]
    assert steps[-1]["loss/text"] < steps[0]["loss/text"] / 2
    assert steps[-1]["structure/kl"] < steps[0]["structure/kl"] / 2
    assert module.steps_done == 20


def test_without_weight_the_heads_stay(outputs):
    module = meco_module(outputs, "method.weight=0")
    before = {name: weight.clone() for name, weight in module.heads.state_dict().items()}
    [step] = fit(module, [batch()])
    assert step["metrics"]["loss/total"] == pytest.approx(step["metrics"]["loss/text"])
    assert all(torch.equal(weight, before[name]) for name, weight in module.heads.state_dict().items())


def test_a_step_without_any_clip_is_counted_and_learns_nothing(outputs):
    module = meco_module(outputs)
    before = copied_weights(module)
    [step] = fit(module, [step_batch(0, num_prompts=0, num_asked=2)])
    assert step["metrics"] == {"data/num_prompts": 0.0} and module.steps_done == 1
    assert all(torch.equal(weight, before[name]) for name, weight in copied_weights(module).items())


def test_an_idle_process_reaches_every_weight_with_zeros(outputs):
    module = meco_module(outputs)
    loss = module.idle_loss()
    loss.backward()
    assert float(loss.detach()) == 0
    lacking = [name for name, weight in module.named_parameters() if weight.grad is None]
    assert lacking == [] and all(not weight.grad.any() for weight in module.parameters())


def allowed_only(policy, *tokens):
    """The policy, which may write nothing but these tokens."""
    allowed = {policy.tokenizer.convert_tokens_to_ids(token) for token in tokens}
    banned = tuple(sorted(set(range(len(policy.tokenizer))) - allowed))
    return replace(policy, ids=replace(policy.ids, banned_ids=banned))


@pytest.mark.parametrize("tokens", [("<tst>",), ("<ent>",), ("<ent>", "<tst>", "red", "<|im_end|>")])
def test_rows_while_generating_are_those_of_training(outputs, tokens):
    """Also where a structural token is the first thing written, whose state the reading of the prompt left behind."""
    module = meco_module(outputs)
    policy, prompts = allowed_only(module.policy, *tokens), module.prompts_of(batch(), "structure")
    settings = RolloutSettings(num_generations=1, temperature=1.0, max_new_tokens=7)
    answers = sample_rollouts(policy, prompts, settings, [0, 1, 2], module.layers)
    written, mask = answers.completion_ids, answers.completion_mask
    forced = recorded_log_probs(policy, prompts, written, mask, module.layers)

    def rows(token_states, frame_states):
        states = sample_states(
            module.ids, written, mask, token_states, frame_states, video_grids(prompts), module.merge
        )
        return [one.kinds for one in states], similarity_rows(module.heads, states)[0]

    with torch.no_grad():
        kinds, cached = rows(answers.token_states, answers.frame_states)
        _, at_once = rows(forced.token_states, forced.frame_states)
    if len(tokens) == 1:
        assert kinds == [(Kind(tokens[0]),) * 7] * 3
    assert any(kinds) and [row.shape[1] for row in cached] == [4, 6, 4]
    for one, other in zip(cached, at_once, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


def test_answers_are_read_by_the_heads(outputs):
    """An event token whose row is known: where it is highest is the segment, in the sample's own seconds."""
    module = meco_module(outputs)
    policy, prompts = allowed_only(module.policy, "<ent>"), module.prompts_of(batch(), "structure")
    answers = greedy_rollouts(policy, prompts, RolloutSettings(num_generations=1, max_new_tokens=1), module.layers)
    likeliest = [0, 5, 3]
    states = answers.frame_states.split([4, 6, 4])
    wanted = torch.zeros_like(answers.frame_states)
    for row, (part, step) in enumerate(zip(wanted.split([4, 6, 4]), likeliest, strict=True)):
        part[step] = states[row][step]

    class Pointing(AlignmentHeads):
        """Heads for which a step fits every token if it was chosen, and none otherwise."""

        def tokens(self, states):
            return torch.eye(2)[0].expand(len(states), 2)

        def frames(self, states):
            chosen = torch.isclose(states[:, None], wanted[None], rtol=0, atol=0).all(-1).any(-1)
            return torch.eye(2)[(~chosen).long()]

    module.reader.heads = Pointing(2)
    module.reader.settings = LocalizationSettings(dilation_steps=0, include_last_step=True)
    read = module.reader.read(policy, prompts, answers)
    # a step lasts 2 s at one frame a second, 1 s at two
    assert [one.lenient.segments for one in read] == [((0.0, 2.0),), ((5.0, 6.0),), ((6.0, 8.0),)]
    assert all(one.strict.fault is None for one in read)


def test_an_answer_without_events_has_no_segment(outputs):
    module = meco_module(outputs)
    policy, prompts = allowed_only(module.policy, "<tst>"), module.prompts_of(batch(), "structure")
    answers = greedy_rollouts(policy, prompts, RolloutSettings(num_generations=1, max_new_tokens=2), module.layers)
    read = module.reader.read(policy, prompts, answers)
    assert all(one.lenient.segments == () and one.strict.fault is not None for one in read)
    assert [one.lenient.text for one in read] == ["<tst><tst>"] * 3


def test_heads_may_be_those_of_an_exported_model(outputs, tmp_path):
    module = meco_module(outputs)
    fit(module, [batch()])
    module.write_beside(tmp_path, module.heads.state_dict(), **module.job.module_options)
    again = meco_module(outputs, f"method.start_heads={tmp_path}")
    for name, weight in module.heads.state_dict().items():
        assert torch.equal(again.heads.state_dict()[name], weight), name
    with pytest.raises(ValueError, match="heads for a model that is not 48 wide"):
        narrow = ("model.hidden_size=48", "model.mrope_section=[2,2,2]")
        meco_module(outputs, f"method.start_heads={tmp_path}", *narrow)
