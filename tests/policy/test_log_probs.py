"""Log-probabilities against the library's own forward, and under every change that must not matter."""

from functools import partial

import pytest
import torch

from museg.policy import log_probs as log_probs_module
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from tests.policy.drawn_clips import drawn_batch

NUM_GENERATIONS = 3


def drawn_completions(policy, num_rows: int, num_tokens: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Random ids, placeholders among them, in rows of unequal length."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, len(policy.tokenizer), (num_rows, num_tokens), generator=generator)
    lengths = torch.randint(1, num_tokens, (num_rows, 1), generator=generator)
    lengths[0] = num_tokens
    return ids, torch.arange(num_tokens) < lengths


@pytest.fixture(scope="module")
def inputs(policy):
    batch = drawn_batch(policy, 4)
    assert batch.num_padding.unique().numel() > 1  # rows are padded differently
    ids, mask = drawn_completions(policy, 4 * NUM_GENERATIONS)
    return batch, ids, mask


def library_log_probs(policy, batch, ids, mask) -> torch.Tensor:
    """One row at a time through transformers' own whole model, with nothing but our positions handed in."""
    result = torch.zeros(ids.shape)
    for row in range(len(ids)):
        prompt = batch.select([row // NUM_GENERATIONS])
        completion = ids[row][mask[row]]
        num_prompt = prompt.input_ids.shape[1]
        steps = torch.arange(len(completion)) + prompt.next_position
        logits = policy.model(
            input_ids=torch.cat([prompt.input_ids[0], completion])[None],
            pixel_values_videos=prompt.pixel_values,
            video_grid_thw=prompt.grid_thw,
            position_ids=torch.cat([prompt.position_ids, steps.expand(3, 1, -1)], dim=2),
            use_cache=False,
        ).logits[0, num_prompt - 1 : -1]
        result[row, : len(completion)] = logits.log_softmax(-1).gather(1, completion[:, None])[:, 0]
    return result


def gradients(policy, *args, **kwargs) -> list[torch.Tensor]:
    weight = torch.linspace(-1, 1, args[1].numel()).view(args[1].shape)
    loss = (completion_log_probs(policy, *args, **kwargs) * weight).sum()
    return torch.autograd.grad(loss, list(policy.model.parameters()))


def test_equals_the_library_forward(policy, inputs):
    batch, ids, mask = inputs
    ids = ids.clone()
    ids[torch.isin(ids, torch.tensor([policy.ids.video_id, policy.ids.image_id]))] = 0  # the library refuses those
    actual = completion_log_probs(policy, batch, ids, mask, NUM_GENERATIONS)
    with torch.no_grad():
        expected = library_log_probs(policy, batch, ids, mask)
    torch.testing.assert_close(actual.detach(), expected, rtol=0, atol=1e-5)
    assert actual.dtype == torch.float32
    assert actual[~mask].eq(0).all() and actual[mask].lt(0).all()


def test_neither_padding_nor_company_matters(policy, inputs):
    batch, ids, mask = inputs
    together = completion_log_probs(policy, batch, ids, mask, NUM_GENERATIONS).detach()
    for prompt in range(4):
        rows = slice(prompt * NUM_GENERATIONS, (prompt + 1) * NUM_GENERATIONS)
        apart = completion_log_probs(policy, batch.select([prompt]), ids[rows], mask[rows], NUM_GENERATIONS)
        torch.testing.assert_close(together[rows], apart.detach(), rtol=0, atol=1e-5)


def test_what_stands_in_masked_slots_does_not_matter(policy, inputs):
    batch, ids, mask = inputs
    other = torch.where(mask, ids, policy.ids.video_id)
    extended = torch.cat([other, other], dim=1), torch.cat([mask, torch.zeros_like(mask)], dim=1)
    expected = completion_log_probs(policy, batch, ids, mask, NUM_GENERATIONS).detach()
    actual = completion_log_probs(policy, batch, *extended, NUM_GENERATIONS).detach()
    torch.testing.assert_close(actual[:, : ids.shape[1]], expected, rtol=0, atol=1e-6)
    assert actual[:, ids.shape[1] :].eq(0).all()


def test_a_placeholder_in_a_completion_is_an_ordinary_token(policy, inputs):
    batch, ids, mask = inputs
    pixels = (policy.ids.video_id, policy.ids.image_id, policy.ids.vision_start_id, policy.ids.vision_end_id)
    ids = ids.clone()
    ids[0, 2:6] = torch.tensor(pixels)
    log_probs = completion_log_probs(policy, batch, ids, mask, NUM_GENERATIONS)
    log_probs.sum().backward(inputs=[policy.model.lm_head.weight])
    assert log_probs.isfinite().all() and policy.model.lm_head.weight.grad.isfinite().all()
    policy.model.lm_head.weight.grad = None
    # its own embedding, not a piece of the video: the tokens after it differ from those after another token
    swapped = ids.clone()
    swapped[0, 2] = 0
    after = completion_log_probs(policy, batch, swapped, mask, NUM_GENERATIONS)
    assert torch.equal(after[0, :2], log_probs[0, :2]) and not torch.equal(after[0, 3:], log_probs[0, 3:])


def test_chunks_of_the_head_and_of_rows_do_not_matter(policy, inputs, monkeypatch):
    expected = completion_log_probs(policy, *inputs, NUM_GENERATIONS).detach()
    expected_gradients = gradients(policy, *inputs, NUM_GENERATIONS)
    monkeypatch.setattr(log_probs_module, "ROWS_PER_PASS", 5)
    actual = completion_log_probs(policy, *inputs, NUM_GENERATIONS, chunk_tokens=7).detach()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
    for left, right in zip(
        gradients(policy, *inputs, NUM_GENERATIONS, chunk_tokens=7), expected_gradients, strict=True
    ):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_chunks_of_the_head_do_not_matter_under_autocast(policy, inputs, dtype):
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        whole = gradients(policy, *inputs, NUM_GENERATIONS)
        in_chunks = gradients(policy, *inputs, NUM_GENERATIONS, chunk_tokens=7)
    # a sum in another order; with eight bits of mantissa rounded after every chunk besides
    tolerance = 1e-5 if dtype is torch.float32 else 0.02
    for left, right in zip(in_chunks, whole, strict=True):
        assert left.dtype == right.dtype and (left - right).norm() < tolerance * right.norm()


def test_a_frozen_head_gets_no_gradient_in_chunks(own_policy):
    own_policy.model.lm_head.weight.requires_grad_(False)  # and with it the embeddings, which are the same
    ids, mask = drawn_completions(own_policy, 2)
    completion_log_probs(own_policy, drawn_batch(own_policy, 2), ids, mask, 1, chunk_tokens=3).sum().backward()
    assert own_policy.model.lm_head.weight.grad is None
    assert own_policy.model.model.language_model.norm.weight.grad.abs().sum() > 0


def test_whole_groups_are_asked_for(policy, inputs):
    batch, ids, mask = inputs
    with pytest.raises(ValueError, match="12 completions for 4 prompts x num_generations=2"):
        completion_log_probs(policy, batch, ids, mask, 2)


def test_an_empty_completion_has_no_log_probs(policy, inputs):
    batch, ids, mask = inputs
    emptied = mask.clone()
    emptied[4] = False
    expected = completion_log_probs(policy, batch, ids, mask, NUM_GENERATIONS).detach()
    actual = completion_log_probs(policy, batch, ids, emptied, NUM_GENERATIONS).detach()
    assert actual[4].eq(0).all()
    torch.testing.assert_close(actual[emptied], expected[emptied], rtol=0, atol=1e-5)


def test_float32_under_bfloat16_autocast(policy, inputs):
    exact = completion_log_probs(policy, *inputs, NUM_GENERATIONS).detach()
    with torch.autocast("cpu", torch.bfloat16):
        log_probs = completion_log_probs(policy, *inputs, NUM_GENERATIONS)
    assert log_probs.dtype == torch.float32
    # eight bits of mantissa in the layers: off by some hundredths, but not rounded to bfloat16 itself
    torch.testing.assert_close(log_probs.detach(), exact, rtol=0.05, atol=0.2)
    assert not torch.equal(log_probs, log_probs.bfloat16().float())


def test_the_vision_tower_learns_from_every_generation(policy, inputs):
    assert all(gradient.abs().sum() > 0 for gradient in gradients(policy, *inputs, NUM_GENERATIONS))


def test_a_rollout_before_it_changes_no_gradient_under_autocast(own_policy):
    """Autocast keeps converted weights; those a rollout converted, without gradients, must not serve training."""
    batch = drawn_batch(own_policy, 2)
    ids, mask = drawn_completions(own_policy, 2)
    runs = []
    for rolls_out in (False, True):
        with torch.autocast("cpu", torch.bfloat16):
            if rolls_out:
                greedy_rollouts(own_policy, batch, RolloutSettings(max_new_tokens=2))
            runs.append(gradients(own_policy, batch, ids, mask, 1))
    for alone, after_rollout in zip(*runs, strict=True):
        torch.testing.assert_close(alone, after_rollout)


def test_an_adapter_on_the_head_is_called_for_every_chunk(own_policy):
    class Doubled(torch.nn.Linear):
        def forward(self, hidden):
            return 2 * super().forward(hidden)

    head = own_policy.model.lm_head
    head.__class__ = Doubled
    ids, mask = drawn_completions(own_policy, 2)
    of = partial(completion_log_probs, own_policy, drawn_batch(own_policy, 2), ids, mask, 1)
    whole, in_chunks = of(), of(chunk_tokens=2)
    torch.testing.assert_close(in_chunks, whole, rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad(values.sum(), head.weight)[0] for values in (in_chunks, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    head.__class__ = torch.nn.Linear
    assert not torch.allclose(of(chunk_tokens=2), whole, atol=0.1)
