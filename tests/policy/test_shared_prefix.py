"""One packed row against the forward of every completion by itself: values, gradients, and what would be wrong."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention.flex_attention import flex_attention

from museg.policy import shared_prefix
from museg.policy.fallback import FellBack
from museg.policy.log_probs import completion_log_probs
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.policy.shared_prefix import PackedRow, shared_prefix_log_probs
from tests.policy.adapted_policy import adapted
from tests.policy.drawn_clips import drawn_batch
from tests.policy.sized_policy import windowed_policy

NUM_PROMPTS, NUM_TOKENS = 3, 9
ATTENTIONS = (shared_prefix.attend_in_pieces, shared_prefix.attend_by_mask)
# Norms and the tower's rotation compute in float32 whatever the input, so gradients agree no better than that.
LOG_PROB_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
GRADIENT_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-5}


def ragged(policy, num_generations: int, dtype=torch.float32):
    """Prompts padded differently, completions of all lengths from none, with placeholders among their tokens."""
    batch = drawn_batch(policy, NUM_PROMPTS, side_px=84, num_frames=4)
    assert batch.num_padding.unique().numel() > 1
    batch = replace(batch, pixel_values=batch.pixel_values.to(dtype))
    num_rows, generator = NUM_PROMPTS * num_generations, torch.Generator().manual_seed(0)
    ids = torch.randint(0, len(policy.tokenizer), (num_rows, NUM_TOKENS), generator=generator)
    ids[0, 2:6] = torch.tensor([policy.ids.vision_start_id, policy.ids.video_id, policy.ids.image_id, 0])
    lengths = torch.randint(2, NUM_TOKENS, (num_rows,), generator=generator)
    lengths[0], lengths[1], lengths[-1] = NUM_TOKENS, 1, 0
    return batch, ids, torch.arange(NUM_TOKENS) < lengths[:, None], num_generations


def with_gradients(of, policy, inputs, **options):
    """Log-probabilities, and the gradients of all weights that train for unequal weights of the tokens."""
    log_probs = of(policy, *inputs, **options)
    weight = torch.linspace(-1, 1, log_probs.numel(), dtype=log_probs.dtype).view(log_probs.shape)
    trained = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    return log_probs.detach(), torch.autograd.grad((log_probs * weight).sum(), trained)


def assert_same(actual, expected):
    """Log-probabilities to an absolute tolerance, each weight's gradient relative to its norm."""
    dtype = expected[0].dtype
    assert actual[0].dtype == dtype
    assert (actual[0] - expected[0]).abs().max() < LOG_PROB_TOLERANCE[dtype]
    for left, right in zip(actual[1], expected[1], strict=True):
        assert right.norm() > 0
        assert (left - right).norm() < GRADIENT_TOLERANCE[dtype] * right.norm()


@pytest.mark.parametrize("attention", ATTENTIONS, ids=lambda attention: attention.__name__)
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("num_generations", [2, 8])
@pytest.mark.parametrize("dtype", LOG_PROB_TOLERANCE, ids=str)
def test_equals_the_forward_of_every_completion(dtype, num_generations, checkpointing, attention, monkeypatch):
    monkeypatch.setattr(shared_prefix, "attention_for", lambda device: attention)
    policy = windowed_policy()
    policy.model.to(dtype)
    inputs = ragged(policy, num_generations, dtype)
    expected = with_gradients(completion_log_probs, policy, inputs)
    policy.model.train()  # in evaluation mode nothing is checkpointed
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    passes = []
    for layer in policy.model.model.language_model.layers:
        layer.mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    assert_same(with_gradients(shared_prefix_log_probs, policy, inputs), expected)
    assert len(passes) == len(policy.model.model.language_model.layers) * (1 + checkpointing)


@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("dtype", LOG_PROB_TOLERANCE, ids=str)
def test_equals_it_with_an_adapter_that_trains_alone(dtype, checkpointing):
    policy = adapted(windowed_policy())
    policy.model.to(dtype)
    inputs = ragged(policy, 2, dtype)
    expected = with_gradients(completion_log_probs, policy, inputs)
    assert len(expected[1]) == 3 * 7 * 2  # two matrices for every projection of every layer, and nothing else
    policy.model.train()
    if checkpointing:
        policy.model.gradient_checkpointing_enable({"use_reentrant": False})
    assert_same(with_gradients(shared_prefix_log_probs, policy, inputs), expected)


@pytest.fixture(scope="module")
def windowed():
    return windowed_policy()


@pytest.fixture(scope="module")
def inputs(windowed):
    return ragged(windowed, 2)


@pytest.fixture(scope="module")
def expected(windowed, inputs):
    return with_gradients(completion_log_probs, windowed, inputs)


def test_a_plain_causal_mask_would_be_noticed(windowed, inputs, expected, monkeypatch):
    """The first wrong construction: every token sees all before it, other prompts and completions included."""

    def plainly_causal(row, module, query, key, value):
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, is_causal=True, enable_gqa=True).transpose(1, 2)

    monkeypatch.setattr(shared_prefix, "attention_for", lambda device: plainly_causal)
    with pytest.raises(AssertionError):
        assert_same(with_gradients(shared_prefix_log_probs, windowed, inputs), expected)


def test_positions_that_run_on_would_be_noticed(windowed, inputs, expected, monkeypatch):
    """The second: each completion's positions begin where those of the one before it ended."""
    right = PackedRow.of(*inputs[:1], inputs[2], inputs[3])
    begins = inputs[0].next_position
    running = [
        begin + torch.arange(int(read)) for begin, read in zip(begins, right.is_read.view(3, -1).sum(1), strict=True)
    ]
    positions = right.position_ids.clone()
    positions[:, 0, right.completion_of >= 0] = torch.cat(running)
    wrong = replace(right, position_ids=positions)
    monkeypatch.setattr(PackedRow, "of", lambda *_: wrong)
    with pytest.raises(AssertionError):
        assert_same(with_gradients(shared_prefix_log_probs, windowed, inputs), expected)
    monkeypatch.setattr(PackedRow, "of", lambda *_: right)
    assert_same(with_gradients(shared_prefix_log_probs, windowed, inputs), expected)


def drawn_row() -> tuple[list[list[bool]], list[int]]:
    """The mask and the positions drawn in the module's docstring."""
    lines = shared_prefix.__doc__.split("    row  ")[1].splitlines()
    mask = [
        [line[15 + 3 * place : 16 + 3 * place] == "#" for place in range(12)] for line in lines[3:16] if line.strip()
    ]
    return mask, [int(number) for number in lines[1].split()[1:]]


def packed_as_drawn(policy) -> PackedRow:
    """Prompts of three and two tokens, padded on the left; completions of 3, 2, 4 and 2 tokens, the last not read."""
    batch = replace(
        drawn_batch(policy, 2),
        input_ids=torch.zeros(2, 3, dtype=torch.long),
        attention_mask=torch.tensor([[1, 1, 1], [0, 1, 1]]),
        position_ids=torch.tensor([[0, 1, 2], [1, 0, 1]]).expand(3, -1, -1),
        next_position=torch.tensor([3, 2]),
    )
    return PackedRow.of(batch, torch.arange(5) < torch.tensor([3, 2, 4, 2])[:, None], 2)


def test_the_row_is_as_drawn(windowed):
    mask, positions = drawn_row()
    row = packed_as_drawn(windowed)
    assert row.mask.tolist() == mask
    assert row.position_ids.tolist() == [[positions]] * 3
    # a is predicted from the last p1 and from both a; d's first from the last p2
    assert row.place_before[0, :3].tolist() == [2, 5, 6] and row.place_before[3, :2].tolist() == [4, 11]


@pytest.mark.parametrize("lengths", [(4, 2, 1, 1), (1, 1, 3, 1), (0, 1, 1, 0), (3, 3, 3, 3)])
def test_groups_of_which_little_or_nothing_is_read(windowed, lengths):
    """A completion of one token stands nowhere in the row: it is predicted from the prompt."""
    batch, mask = drawn_batch(windowed, 2, side_px=84, num_frames=4), torch.arange(4) < torch.tensor(lengths)[:, None]
    ids = torch.arange(16).view(4, 4)
    with torch.no_grad():
        expected = completion_log_probs(windowed, batch, ids, mask, 2)
        torch.testing.assert_close(shared_prefix_log_probs(windowed, batch, ids, mask, 2), expected, rtol=0, atol=1e-5)


def test_the_pieces_hold_every_pair_once(windowed):
    row = packed_as_drawn(windowed)
    count = torch.zeros(13, 13, dtype=torch.long)  # the last place is blank
    for queries, keys, is_causal in row.pieces:
        for query, key in zip(queries, keys, strict=True):
            seen = torch.ones(len(query), len(key), dtype=torch.long)
            count[query[:, None], key] += seen.tril() if is_causal else seen
    assert torch.equal(count[:12, :12], row.mask.long())


def test_by_blocks_equals_in_pieces(windowed, inputs, monkeypatch):
    """flex_attention has no backward pass on a processor: values only."""
    with torch.no_grad():
        right = shared_prefix_log_probs(windowed, *inputs)
        monkeypatch.setattr(shared_prefix, "attention_for", lambda device: shared_prefix.attend_by_blocks)
        monkeypatch.setattr(shared_prefix, "_compiled_flex", lambda: flex_attention)
        torch.testing.assert_close(shared_prefix_log_probs(windowed, *inputs), right, rtol=0, atol=1e-5)


def test_where_blocks_cannot_be_compiled_the_mask_is_spelt_out(windowed, inputs, monkeypatch):
    """As on a GPU that fails at it: flex_attention has no backward pass on a processor, and says so when compiled."""
    right = shared_prefix_log_probs(windowed, *inputs)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)  # as if triton were here
    either = shared_prefix.attention_for(torch.device("cuda"))
    monkeypatch.setattr(shared_prefix, "attention_for", lambda device: either)
    with pytest.warns(FellBack) as told:
        for _ in range(2):
            torch.testing.assert_close(shared_prefix_log_probs(windowed, *inputs), right, rtol=0, atol=1e-5)
    (line,) = [str(one.message) for one in told if one.category is FellBack]
    assert line.startswith("flex_attention cannot be compiled here, its mask is spelt out: ")
    assert "does not support backward on CPU" in line


def test_positions_are_those_of_a_rollout(windowed, inputs):
    """What turns queries and keys while decoding, prompt and tokens, is what the packed row has for them."""
    batch, seen = inputs[0].select([0]), []
    hook = windowed.model.model.language_model.rotary_emb.register_forward_pre_hook(
        lambda _, given: seen.append(given[1])
    )
    rollouts = greedy_rollouts(windowed, batch, RolloutSettings(max_new_tokens=5))
    hook.remove()
    row = PackedRow.of(batch, rollouts.completion_mask, 1)
    assert torch.equal(torch.cat(seen, dim=2), row.position_ids)


def test_chunks_of_the_head_do_not_matter(windowed, inputs, expected):
    assert_same(with_gradients(shared_prefix_log_probs, windowed, inputs, chunk_tokens=7), expected)


def test_the_vision_tower_reads_each_video_once(windowed, inputs):
    grids = []
    hook = windowed.model.model.visual.register_forward_pre_hook(
        lambda _, __, given: grids.append(given["grid_thw"]), with_kwargs=True
    )
    shared_prefix_log_probs(windowed, *inputs)
    hook.remove()
    assert len(grids) == 1 and torch.equal(grids[0], inputs[0].grid_thw)


def test_completions_of_one_token_and_none(windowed, inputs):
    """Nothing of any completion is read then; the prompts' last tokens tell all there is."""
    batch, ids, _, num_generations = inputs
    for lengths in (torch.ones(len(ids)), torch.zeros(len(ids))):
        mask = torch.arange(NUM_TOKENS) < lengths[:, None]
        right = completion_log_probs(windowed, batch, ids, mask, num_generations)
        found = shared_prefix_log_probs(windowed, batch, ids, mask, num_generations)
        torch.testing.assert_close(found, right, rtol=0, atol=1e-5)
        assert found.requires_grad and found[~mask].eq(0).all()


def test_under_bfloat16_autocast(windowed, inputs, expected):
    with torch.autocast("cpu", torch.bfloat16):
        actual = with_gradients(shared_prefix_log_probs, windowed, inputs)
        plain = with_gradients(completion_log_probs, windowed, inputs)
    assert actual[0].dtype == torch.float32

    def distance(found):
        return max(float((a - b).norm() / b.norm()) for a, b in zip(found[1], expected[1], strict=True))

    # eight bits of mantissa in the layers: as far from float32 as the plain forward is, about
    assert (actual[0] - expected[0]).abs().max() < 2 * (plain[0] - expected[0]).abs().max()
    assert distance(actual) < 2 * distance(plain)


def test_whole_groups_and_a_known_attention_are_asked_for(own_policy):
    batch = drawn_batch(own_policy, 2)
    ids = torch.zeros(6, 4, dtype=torch.long)
    with pytest.raises(ValueError, match="6 completions for 2 prompts x num_generations=2"):
        shared_prefix_log_probs(own_policy, batch, ids, ids + 1, 2)
    own_policy.model.config.text_config.attention_dropout = 0.1
    with pytest.raises(ValueError, match=r"dropout 0\.1 cannot share prompts.*objective\.shared_prefix=false"):
        shared_prefix_log_probs(own_policy, batch, ids, ids + 1, 3)
