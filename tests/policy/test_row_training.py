"""Rows that train alone: all others keep their values, whatever decays and beside an adapter, until all train again."""

import copy

import pytest
import torch

from museg.policy.adapter import acting, adapter_weights
from museg.policy.loading import Policy, freeze
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.row_training import (
    embedding_weights,
    held_matrices,
    parameter_groups,
    train_all_rows,
    train_rows_alone,
)
from museg.policy.tiny_tokenizer import tiny_tokenizer
from tests.policy.adapted_policy import adapted
from tests.policy.drawn_clips import drawn_batch
from tests.policy.tied_policy import rows_of, tiny_policy

TEXTS = ["red square", "blue circle"]
ROWS = [token for text in TEXTS for token in tiny_tokenizer().encode(text)[:1]]
"""One token of each text: its row learns at the input too."""


def others_of(weight: torch.Tensor) -> torch.Tensor:
    """All rows of a matrix but `ROWS`."""
    return torch.stack([row for index, row in enumerate(weight) if index not in ROWS])


def learn(policy: Policy, optimizer: torch.optim.Optimizer, num_steps: int = 3) -> None:
    """Likelihood of both texts, over two backward passes a step; the head's logits come in chunks."""
    ids, mask = encode_completions(policy, TEXTS)
    for _ in range(num_steps):
        for row in range(2):
            part = drawn_batch(policy, 2).select([row]), ids[row : row + 1], mask[row : row + 1], 1
            (-completion_log_probs(policy, *part, chunk_tokens=4).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()


def adamw(policy: Policy, undecayed: list) -> torch.optim.AdamW:
    trained = [parameter for parameter in policy.model.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(parameter_groups(trained, undecayed), lr=0.1, weight_decay=0.5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("num_unnamed", [0, 9])
def test_only_these_rows_train(tied, num_unnamed):
    policy = tiny_policy(tied=tied, num_unnamed=num_unnamed)
    freeze(policy.model, {"vision": True, "projector": True, "language": True})
    weights = train_rows_alone(policy.model, ROWS)
    train_rows_alone(policy.model, ROWS)  # harmless
    assert [name for name, one in policy.model.named_parameters() if one.requires_grad] == [
        "model.language_model.embed_tokens.weight",
        *([] if tied else ["lm_head.weight"]),
    ]
    before = {name: weight.clone() for name, weight in policy.model.state_dict().items()}
    learn(policy, adamw(policy, weights))
    for name, weight in policy.model.state_dict().items():
        if name.endswith(("embed_tokens.weight", "lm_head.weight")):
            assert all(not torch.allclose(weight[row], before[name][row], atol=1e-2) for row in ROWS)
            assert torch.equal(others_of(weight), others_of(before[name]))
        else:
            assert torch.equal(weight, before[name])


def test_all_rows_train_again():
    policy = tiny_policy()
    train_rows_alone(policy.model, ROWS)
    assert held_matrices(policy.model) == embedding_weights(policy.model)
    (weight,) = train_all_rows(policy.model)
    assert held_matrices(policy.model) == []
    weight.sum().backward()
    assert weight.grad.eq(1).all()


def test_with_decay_all_rows_would_shrink():
    """Else the first test would show nothing about decay."""
    policy = tiny_policy()
    freeze(policy.model, {"vision": True, "projector": True, "language": True})
    train_rows_alone(policy.model, ROWS)
    (before,) = rows_of(policy.model)
    learn(policy, adamw(policy, []), num_steps=1)
    (after,) = rows_of(policy.model)
    torch.testing.assert_close(others_of(after), others_of(before) * (1 - 0.1 * 0.5))  # 1 - rate x decay


def test_they_train_beside_an_adapter():
    policy = tiny_policy()
    adapted(policy)  # which freezes everything else
    weights = train_rows_alone(policy.model, ROWS)
    (before,), adapter = rows_of(policy.model), {k: v.clone() for k, v in adapter_weights(policy.model).items()}
    optimizer = adamw(policy, weights)
    with acting(policy.model, None):  # which switches all training off and on again
        pass
    learn(policy, optimizer)
    (after,) = rows_of(policy.model)
    assert torch.equal(others_of(after), others_of(before))
    assert not torch.allclose(after[ROWS], before[ROWS])
    assert not any(torch.equal(weight, adapter[name]) for name, weight in adapter_weights(policy.model).items())


def test_a_copy_of_the_model_trains_as_it_is_told():
    """Nothing of the restriction travels with a copy, such as the one a reference is."""
    policy = tiny_policy()
    train_rows_alone(policy.model, ROWS)
    (weight,) = embedding_weights(copy.deepcopy(policy.model))
    weight.sum().backward()
    assert weight.grad.eq(1).all()


def test_parameters_in_groups():
    first, second, third = (torch.nn.Parameter(torch.ones(1)) for _ in range(3))
    assert parameter_groups([first, second], []) == [{"params": [first, second]}]
    assert parameter_groups([first, second, third], [second]) == [
        {"params": [first, third]},
        {"params": [second], "weight_decay": 0.0},
    ]
    assert parameter_groups(iter([first]), [first]) == [{"params": [first], "weight_decay": 0.0}]
