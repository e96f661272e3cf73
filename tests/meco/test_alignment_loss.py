"""The loss of the alignment against NumPy, at its bounds, with gradients to everything, and what its metrics mean."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from museg.meco.alignment import INITIAL_TEMPERATURE, AlignmentHeads, pooled_steps, sample_cosines
from museg.meco.alignment_loss import AlignedSample, alignment_metrics, structural_loss
from museg.meco.structure import Kind, Span, span_targets
from museg.meco.tokens import add_structural_tokens
from museg.policy.forward import embed_prompts, run_decoder
from museg.policy.layer_states import captured_states
from museg.policy.processing import build_prompt_batch, encode_completions
from museg.policy.tiny import build_tiny
from museg.temporal.segments import Segment
from tests.meco.test_alignment import WIDTH, drawn, rows_of
from tests.policy.drawn_clips import WORDING, drawn_clip

ENT, TST = Kind.EVENT, Kind.TRANSITION
SIZES = [(9, [TST, ENT, TST, ENT]), (4, [ENT]), (6, []), (5, [TST])]
"""Steps and kinds of the samples of a batch: both kinds, each alone, none."""


def drawn_targets(num_tokens: int, num_steps: int, seed: int) -> np.ndarray:
    """Spread evenly over a stretch of steps."""
    generator = np.random.default_rng(seed)
    targets = np.zeros((num_tokens, num_steps))
    for row in targets:
        first, last = sorted(generator.integers(0, num_steps, 2))
        row[first : last + 1] = 1 / (last + 1 - first)
    return targets


def drawn_states(dtype: torch.dtype = torch.float64) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Leaves of a graph, states of tokens [K, d] and of steps [T, d], for every sample of `SIZES`."""
    sizes = [(len(kinds), num_steps) for num_steps, kinds in SIZES]
    return [
        tuple(
            drawn(size, WIDTH, dtype=dtype, seed=10 * sample + place).requires_grad_()
            for place, size in enumerate(pair)
        )
        for sample, pair in enumerate(sizes)
    ]


def batch_of(heads: AlignmentHeads, states) -> list[AlignedSample]:
    """The samples of `SIZES` with these states."""
    rows, _ = sample_cosines(heads, *zip(*states, strict=True))
    return [
        AlignedSample(row, torch.as_tensor(drawn_targets(len(kinds), num_steps, seed)), kinds)
        for seed, (row, (num_steps, kinds)) in enumerate(zip(rows, SIZES, strict=True))
    ]


def row_of(cosine: list[float], target: list[float], kind: Kind = ENT) -> AlignedSample:
    """A sample with one token."""
    return AlignedSample(torch.tensor([cosine]), torch.tensor([target]), [kind])


# the same in NumPy, from the formulas alone


def numpy_head(head, states: np.ndarray) -> np.ndarray:
    norm, first, _, second = ([weight.detach().numpy() for weight in layer.parameters()] for layer in head)
    centred = states - states.mean(axis=1, keepdims=True)
    x = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * norm[0] + norm[1]
    x = x @ first[0].T + first[1]
    x = x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
    x = x @ second[0].T + second[1]
    return x / np.sqrt((x**2).sum(axis=1, keepdims=True))


def numpy_losses(heads: AlignmentHeads, states, targets: np.ndarray) -> list[float]:
    """Of each token of a sample."""
    tokens, steps = (state.detach().numpy() for state in states)
    z = math.exp(heads.log_scale.item()) * numpy_head(heads.token_head, tokens) @ numpy_head(heads.frame_head, steps).T
    return [float(-(p * (row - np.log(np.exp(row).sum()))).sum()) for row, p in zip(z, targets, strict=True)]


def numpy_loss(heads: AlignmentHeads, states, mode: str, *, above_bound: bool = False) -> float:
    samples = []
    for seed, (pair, (num_steps, kinds)) in enumerate(zip(states, SIZES, strict=True)):
        if not kinds:
            continue
        targets = drawn_targets(len(kinds), num_steps, seed)
        losses = numpy_losses(heads, pair, targets)
        if above_bound:
            losses = [loss - math.log((row > 0).sum()) for loss, row in zip(losses, targets, strict=True)]
        of_kinds = [[loss for loss, kind in zip(losses, kinds, strict=True) if kind is wanted] for wanted in (ENT, TST)]
        means = [sum(part) / len(part) for part in of_kinds if part]
        samples.append(sum(means) / len(means) if mode == "separate" else sum(losses) / len(losses))
    return sum(samples) / len(samples)


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_the_loss_is_that_of_numpy(mode):
    heads, states = AlignmentHeads(WIDTH, seed=1).double(), drawn_states()
    batch = batch_of(heads, states)
    assert structural_loss(batch, heads.scale, mode).item() == pytest.approx(numpy_loss(heads, states, mode), abs=1e-12)
    kl = alignment_metrics(batch, heads.scale, mode)["kl"]
    assert kl == pytest.approx(numpy_loss(heads, states, mode, above_bound=True), abs=1e-12)


def test_the_modes_differ_where_kinds_are_uneven():
    # uniform logits over 4 steps cost ln 4; the transition's target has an infinite advantage: 0
    cosine = torch.tensor([[0.0] * 4, [0.0] * 4, [1.0, -1.0, -1.0, -1.0]])
    targets = torch.tensor([[1.0, 0, 0, 0]] * 3)
    sample, scale = AlignedSample(cosine, targets, [ENT, ENT, TST]), torch.tensor(1000.0)
    assert float(structural_loss([sample], scale, "separate")) == pytest.approx(math.log(4) / 2)
    assert float(structural_loss([sample], scale, "joint")) == pytest.approx(math.log(4) * 2 / 3)


@pytest.mark.parametrize("mode", ["separate", "joint"])
@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_uniform_logits_cost_ln_t(num_steps, mode):
    spans = [Span(ENT, Segment(0.0, 1.0)), Span(TST, Segment(1.0, 9.0))]
    targets = torch.as_tensor(span_targets(spans, num_steps, 1.0))
    sample = AlignedSample(torch.full((2, num_steps), 0.3), targets, [ENT, TST])
    assert float(structural_loss([sample], torch.tensor(14.0), mode)) == pytest.approx(math.log(num_steps), abs=1e-6)


def test_the_least_loss_is_ln_m():
    # targets of 1, 2 and 3 of 5 steps; cosine 1 inside and -1 outside at scale 100 leave e^-200 to the others
    targets = torch.as_tensor(span_targets([Span(ENT, Segment(1.0, 1.0 + m)) for m in range(3)], 5, 1.0))
    assert (targets > 0).sum(dim=1).tolist() == [2, 2, 3]  # an empty window grows to one second, which ends in the next
    sample = AlignedSample(targets.gt(0) * 2.0 - 1.0, targets, [ENT] * 3)
    bound = (2 * math.log(2) + math.log(3)) / 3
    assert float(structural_loss([sample], torch.tensor(100.0))) == pytest.approx(bound, abs=1e-6)
    assert alignment_metrics([sample], torch.tensor(100.0))["kl"] == pytest.approx(0.0, abs=1e-6)


@given(st.data())
def test_no_cosines_get_below_ln_m(data):
    num_steps = data.draw(st.integers(1, 6))
    kinds = data.draw(st.lists(st.sampled_from([ENT, TST]), min_size=1, max_size=4))
    size = len(kinds) * num_steps
    values = data.draw(st.lists(st.floats(-1, 1), min_size=size, max_size=size))
    targets = torch.as_tensor(drawn_targets(len(kinds), num_steps, data.draw(st.integers(0, 99))))
    sample = AlignedSample(torch.tensor(values, dtype=torch.float64).view(-1, num_steps), targets, kinds)
    for mode in ("separate", "joint"):
        metrics = alignment_metrics([sample], torch.tensor(data.draw(st.floats(0.1, 50))), mode)
        assert metrics["kl"] >= -1e-9
        assert 0 <= metrics["hit_at_1"] <= 1


def test_a_video_and_its_tokens_are_compared_with_nothing_else():
    heads, states = AlignmentHeads(WIDTH).double(), drawn_states()
    together = batch_of(heads, states)
    apart = [structural_loss([one], heads.scale).item() for one in together if one.kinds]
    assert structural_loss(together, heads.scale).item() == pytest.approx(sum(apart) / 3, abs=1e-12)
    # another token of the same video changes no other token's loss: joint is a plain mean
    rows = [
        AlignedSample(together[0].cosines[[row]], together[0].targets[[row]], [kind])
        for row, kind in enumerate(together[0].kinds)
    ]
    alone = [structural_loss([row], heads.scale).item() for row in rows]
    assert structural_loss(together[:1], heads.scale, "joint").item() == pytest.approx(sum(alone) / 4, abs=1e-12)


@pytest.mark.parametrize("mode", ["separate", "joint"])
def test_gradients_reach_heads_scale_and_states(mode):
    heads, states = AlignmentHeads(WIDTH), drawn_states(torch.float32)
    structural_loss(batch_of(heads, states), heads.scale, mode).backward()
    assert all(weight.grad.norm() > 0 for weight in heads.parameters())
    for (tokens, steps), (_, kinds) in zip(states, SIZES, strict=True):
        for state in (tokens, steps):
            assert state.grad.shape == state.shape and state.grad.isfinite().all()
            assert bool(state.grad.ne(0).any()) == bool(kinds)


@pytest.mark.parametrize("num_steps", [0, 3])
def test_without_tokens_the_loss_is_zero_and_so_is_every_gradient(num_steps):
    """As for a batch of images alone, or of videos without annotated windows."""
    heads = AlignmentHeads(WIDTH)
    tokens, steps = torch.zeros(0, WIDTH, requires_grad=True), drawn(num_steps, WIDTH).requires_grad_()
    sample = AlignedSample(rows_of(heads, tokens, steps), torch.zeros(0, num_steps), [])
    loss = structural_loss([sample, sample], heads.scale)
    assert loss.item() == 0.0
    loss.backward()
    assert all(weight.grad is not None and not weight.grad.any() for weight in [*heads.parameters(), tokens, steps])
    assert alignment_metrics([sample], heads.scale) == {"scale": pytest.approx(1 / INITIAL_TEMPERATURE)}


def test_what_the_metrics_mean():
    # of 4 steps the event has 1 and 2: its likeliest is 1, a hit; the transition has 3: its likeliest is 0, no hit
    event, transition = [0.1, 0.5, 0.3, 0.0], [0.4, 0.0, 0.0, 0.2]
    both = AlignedSample(
        torch.tensor([event, transition]), torch.tensor([[0, 0.5, 0.5, 0], [0, 0, 0, 1.0]]), [ENT, TST]
    )
    whole = row_of([0.8, 0.6], [0.5, 0.5])  # a window that is the whole video has no outside
    found = alignment_metrics([both, whole], torch.tensor(1.0))
    log_sums = [math.log(sum(math.exp(value) for value in row)) for row in (event, transition, [0.8, 0.6])]
    of_event, of_transition, of_whole = log_sums[0] - 0.4, log_sums[1] - 0.2, log_sums[2] - 0.7
    expected = {
        "scale": 1.0,
        "event": (of_event + of_whole) / 2,
        "transition": of_transition,
        "kl": ((of_event - math.log(2) + of_transition) / 2 + of_whole - math.log(2)) / 2,
        "hit_at_1": (1 / 2 + 1) / 2,
        "cosine_in": ((0.5 + 0.3 + 0.2) / 3 + 0.7) / 2,
        "cosine_out": (0.1 + 0.0 + 0.4 + 0.0 + 0.0) / 5,
    }
    assert found == pytest.approx(expected, abs=1e-6)
    of_one_kind = alignment_metrics([whole], torch.tensor(1.0))
    assert "transition" not in of_one_kind and "cosine_out" not in of_one_kind


def test_heads_learn_what_they_are_shown():
    """Two tokens, six steps: states that can be told apart come to lie where they belong."""
    heads = AlignmentHeads(WIDTH, seed=3)
    tokens, steps = drawn(2, WIDTH), drawn(6, WIDTH, seed=1)
    targets = torch.as_tensor(span_targets([Span(TST, Segment(0, 1.5)), Span(ENT, Segment(2, 3))], 6, 1.0))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=0.01, weight_decay=0.0)
    found = []
    for _ in range(60):
        samples = [AlignedSample(rows_of(heads, tokens, steps), targets, [TST, ENT])]
        loss = structural_loss(samples, heads.scale)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(alignment_metrics(samples, heads.scale))
    assert found[0]["kl"] > 0.5 and found[-1]["kl"] < 0.01
    assert found[-1]["hit_at_1"] == 1.0 and found[-1]["cosine_in"] > found[-1]["cosine_out"] + 0.5


def test_gradients_reach_the_model():
    """From tokens in a text and steps of a video: decoder, vision tower and merger learn from the alignment alone."""
    policy = build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    heads, spans = AlignmentHeads(48), [Span(TST, Segment(0, 2)), Span(ENT, Segment(2, 4))]
    batch = build_prompt_batch(policy, [drawn_clip(0)], WORDING, max_context_tokens=4096)
    completion, _ = encode_completions(policy, ["<tst>\nred square<ent>"])
    row = torch.cat([batch.input_ids[0], completion[0]])
    texts = policy.model.model.language_model.embed_tokens(completion)
    steps = (batch.next_position + torch.arange(completion.shape[1])).expand(3, 1, -1)
    with captured_states(policy, [-2, -1]) as states:
        embeds = torch.cat([embed_prompts(policy, batch), texts], dim=1)
        run_decoder(policy, embeds, torch.cat([batch.position_ids, steps], dim=2))
    pooled = pooled_steps(states[-1][0, row == policy.ids.video_id], batch.grid_thw[0], 2)
    (rows,), scale = sample_cosines(heads, [states[-2][0, :-1][ids.is_structural(row[1:])]], [pooled])
    targets = torch.as_tensor(span_targets(spans, len(pooled), float(batch.second_per_grid_ts[0])))
    structural_loss([AlignedSample(rows, targets, [span.kind for span in spans])], scale).backward()
    learns = {name for name, weight in policy.model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert {name for name, _ in policy.model.named_parameters()} - learns == {"model.language_model.norm.weight"}


def test_bad_input_is_told():
    sample = row_of([0.0, 1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"mode='both' is unknown: choose one of separate, joint"):
        structural_loss([sample], torch.tensor(1.0), "both")
    with pytest.raises(ValueError, match="no samples to align"):
        structural_loss([], torch.tensor(1.0))
    with pytest.raises(ValueError, match=r"cosines \[1, 2\], targets \[1, 3\] and 1 kinds belong to different"):
        AlignedSample(torch.zeros(1, 2), torch.ones(1, 3), [ENT])
    with pytest.raises(ValueError, match=r"and 2 kinds belong to different tokens"):
        AlignedSample(torch.zeros(1, 2), torch.ones(1, 2), [ENT, TST])
