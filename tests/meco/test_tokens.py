"""Structural tokens: ids and texts, rows that are new, and the places whose states count."""

import numpy as np
import pytest
import torch
from tokenizers import normalizers
from transformers import AutoTokenizer

from museg.meco.structure import Kind
from museg.meco.tokens import StructuralIds, add_structural_tokens, structural_ids
from museg.policy.export import export
from museg.policy.forward import left_aligned, run_decoder
from museg.policy.layer_states import captured_states
from museg.policy.loading import Policy, as_policy, load_checkpoint, special_ids
from museg.policy.processing import encode_completions
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.policy.row_training import embedding_weights
from museg.policy.tiny_tokenizer import tiny_tokenizer
from tests.policy.drawn_clips import drawn_batch
from tests.policy.tied_policy import rows_of, tiny_policy

NUM_TOKENS = len(tiny_tokenizer())
TEXT = "red square<ent>\n<tst>\nblue circle<ent>"


def with_tokens(**kind: object) -> tuple[Policy, StructuralIds]:
    """A policy that knows the tokens, its ids looked up again."""
    policy = tiny_policy(**kind)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    return as_policy(policy.model, policy.tokenizer), ids


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("num_unnamed", [0, 1, 9])
def test_matrices_grow_only_as_far_as_they_must(tied, num_unnamed):
    policy = tiny_policy(tied=tied, num_unnamed=num_unnamed)
    before, objects, drawn = rows_of(policy.model), embedding_weights(policy.model), torch.get_rng_state()
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    assert ids == StructuralIds(NUM_TOKENS, NUM_TOKENS + 1)
    after = embedding_weights(policy.model)
    assert len(after) == len(before) == (1 if tied else 2)
    num_rows = NUM_TOKENS + max(num_unnamed, 2)
    for old, new in zip(before, after, strict=True):
        assert len(new) == num_rows and new.requires_grad
        assert torch.equal(new[:NUM_TOKENS], old[:NUM_TOKENS])
        assert torch.equal(new[NUM_TOKENS + 2 :], old[NUM_TOKENS + 2 :])  # what no token stands for
        halves = np.array_split(old[:NUM_TOKENS].numpy().astype(np.float64), 2)
        np.testing.assert_allclose(new[NUM_TOKENS:][:2].detach(), [half.mean(axis=0) for half in halves], atol=1e-7)
    if num_unnamed >= 2:
        assert all(now is then for now, then in zip(after, objects, strict=True))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert policy.model.config.text_config.vocab_size == num_rows
    hidden = torch.zeros(1, policy.model.config.text_config.hidden_size)
    assert policy.model.lm_head(hidden).shape == (1, num_rows)
    assert policy.model.model.language_model.embed_tokens(torch.tensor([ids.transition_id])).isfinite().all()


@pytest.mark.parametrize("tied", [True, False])
def test_added_twice_or_loaded_again_nothing_changes(tied, tmp_path):
    policy, ids = with_tokens(tied=tied)
    with torch.no_grad():
        for weight in embedding_weights(policy.model):
            weight[list(ids.kinds)] += 1.0  # learnt
    export(policy, tmp_path)
    for one in (policy, load_checkpoint(str(tmp_path))):
        before, objects = rows_of(one.model), embedding_weights(one.model)
        assert add_structural_tokens(one.tokenizer, one.model) == structural_ids(one.tokenizer) == ids
        assert len(one.tokenizer) == NUM_TOKENS + 2
        assert all(now is then for now, then in zip(embedding_weights(one.model), objects, strict=True))
        assert all(map(torch.equal, rows_of(one.model), before))
        assert all(map(torch.equal, before, rows_of(policy.model)))


def test_a_token_that_is_known_keeps_its_row():
    policy = tiny_policy(num_unnamed=2)
    policy.tokenizer.add_tokens([Kind.EVENT.value])
    (before,) = rows_of(policy.model)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    (after,) = rows_of(policy.model)
    assert torch.equal(after[: NUM_TOKENS + 1], before[: NUM_TOKENS + 1])
    second_half = before[:NUM_TOKENS].tensor_split(2)[1]
    torch.testing.assert_close(after[ids.transition_id], second_half.mean(dim=0))


def test_a_model_that_lags_behind_its_tokenizer_catches_up():
    policy, other = tiny_policy(), tiny_policy()
    add_structural_tokens(policy.tokenizer, policy.model)
    add_structural_tokens(policy.tokenizer, other.model)  # a second model of the same tokenizer
    assert all(map(torch.equal, rows_of(other.model), rows_of(policy.model)))


def test_in_bfloat16_means_are_taken_in_float32():
    policy = tiny_policy()
    policy.model.bfloat16()
    (before,) = rows_of(policy.model)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    (after,) = rows_of(policy.model)
    assert after.dtype == torch.bfloat16
    assert torch.equal(after[ids.event_id], before.tensor_split(2)[0].float().mean(dim=0).bfloat16())


def test_a_tokenizer_without_them_is_told():
    with pytest.raises(ValueError, match=r"no <ent>, <tst>: call add_structural_tokens first"):
        structural_ids(tiny_tokenizer())


@pytest.mark.parametrize("normalizer", [None, normalizers.NFC()], ids=["plain", "as published"])
def test_they_stay_in_texts_without_special_tokens(normalizer, tmp_path):
    policy, ids = with_tokens()
    tokenizer = policy.tokenizer
    if normalizer is not None:
        tokenizer.backend_tokenizer.normalizer = normalizer
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, AutoTokenizer.from_pretrained(tmp_path)):
        row = one.encode(f"{TEXT}<|im_end|>", add_special_tokens=False)
        assert [ids.kinds[token] for token in row if token in ids.kinds] == [Kind.EVENT, Kind.TRANSITION, Kind.EVENT]
        assert one.decode(row, skip_special_tokens=True) == TEXT
        assert not set(ids.kinds) & set(one.all_special_ids)
        assert one.encode("\n", add_special_tokens=False) * 2 == [  # neither swallows what stands around it
            token for token in one.encode("<ent>\n<tst>\n", add_special_tokens=False) if token not in ids.kinds
        ]


def test_a_rollout_may_begin_with_one():
    """Looked up again, the ids are not banned any more, and the completion's text shows the token."""
    policy = tiny_policy(tied=False, num_unnamed=9)
    ids = add_structural_tokens(policy.tokenizer, policy.model)
    assert set(ids.kinds) < set(policy.ids.banned_ids)  # looked up before
    policy = as_policy(policy.model, policy.tokenizer)
    assert not set(ids.kinds) & set(policy.ids.banned_ids)
    batch = drawn_batch(policy, 1)
    with torch.no_grad():
        last = run_decoder(policy, *left_aligned(policy, batch))[0, -1]
        policy.model.lm_head.weight[ids.transition_id] = 10 * last  # the likeliest token after the prompt
    rollouts = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=3))
    assert rollouts.completion_ids[0, 0] == ids.transition_id
    assert rollouts.texts[0].startswith("<tst>")


@pytest.mark.parametrize("query", [*(kind.value for kind in Kind), "<e<ent>nt> <<tst>> a<ent>b<tst>", "<ent>" * 3])
def test_no_query_holds_one(query):
    policy, ids = with_tokens()
    batch = drawn_batch(policy, 1, query=query)
    assert not ids.is_structural(batch.input_ids).any()
    assert ids.is_structural(torch.tensor(policy.tokenizer.encode(query))).any()  # it would, but for the prompt's care


def test_places_of_the_tokens():
    ids = StructuralIds(event_id=7, transition_id=8)
    rows = torch.tensor([[8, 1, 7, 7, 2], [1, 2, 3, 4, 8]])
    assert ids.is_structural(rows).int().tolist() == [[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]


@torch.no_grad()
def test_a_tokens_state_is_that_of_the_place_before_it():
    """The state does not depend on the token itself, but on the one before, and a later token's on both."""
    policy, ids = with_tokens()
    batch = drawn_batch(policy, 1)
    completion, _ = encode_completions(policy, [TEXT])
    row = torch.cat([batch.input_ids[0], completion[0]])
    prompt, positions = left_aligned(policy, batch)
    embeds = torch.cat([prompt, policy.model.model.language_model.embed_tokens(completion)], dim=1)
    steps = (batch.next_position + torch.arange(completion.shape[1])).expand(3, 1, -1)
    positions = torch.cat([positions, steps], dim=2)

    def states(changed_place: int | None) -> torch.Tensor:
        """Of the three structural tokens, [3, hidden], with another embedding in one place."""
        other = embeds.clone()
        if changed_place is not None:
            other[:, changed_place] += 1.0
        with captured_states(policy, [-2]) as found:
            run_decoder(policy, other, positions)
        return found[-2][0, :-1][ids.is_structural(row[1:])]

    expected, first = states(None), int(ids.is_structural(row).nonzero()[0])
    assert expected.shape[0] == 3 and row[first] == ids.event_id
    of_itself, of_the_one_before = states(first), states(first - 1)
    assert torch.equal(of_itself[0], expected[0])
    assert not torch.allclose(of_itself[1], expected[1]) and not torch.allclose(of_itself[2], expected[2])
    assert not torch.allclose(of_the_one_before[0], expected[0])


def test_ids_are_those_of_the_vocabulary():
    policy, ids = with_tokens()
    assert special_ids(policy.tokenizer, NUM_TOKENS + 2) == policy.ids
    assert policy.tokenizer.convert_ids_to_tokens(list(ids.kinds)) == [kind.value for kind in ids.kinds.values()]
