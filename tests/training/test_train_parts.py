"""What a phase trains is what it names."""

import pytest

from museg.meco.tokens import add_structural_tokens
from museg.phases.trained_parts import TrainedParts
from museg.policy.row_training import held_matrices
from museg.policy.tiny import build_tiny
from museg.training.train_parts import train_parts
from tests.policy.adapted_policy import adapted

NOTHING = {"vision": False, "projector": False, "language": False, "embeddings": "none", "heads": False}
EMBEDDINGS = "model.language_model.embed_tokens.weight"


@pytest.fixture(scope="module")
def policy():
    policy = build_tiny(seed=0)
    add_structural_tokens(policy.tokenizer, policy.model)
    return policy


def trained(policy) -> set[str]:
    return {name for name, weight in policy.model.named_parameters() if weight.requires_grad}


def names(policy, *prefixes) -> set[str]:
    return {name for name, _ in policy.model.named_parameters() if name.startswith(prefixes)}


@pytest.mark.parametrize(
    ("part", "prefixes"),
    [
        ({"projector": True}, ("model.visual.merger.",)),
        ({"vision": True}, ("model.visual.patch_embed.", "model.visual.blocks.")),
        ({"language": True}, ("model.language_model.layers.", "model.language_model.norm.")),
        ({"embeddings": "all"}, (EMBEDDINGS,)),
        ({"embeddings": "new_rows"}, (EMBEDDINGS,)),
    ],
)
def test_parts_by_name(policy, part, prefixes):
    train_parts(policy, None, TrainedParts(**NOTHING | part))
    assert trained(policy) == names(policy, *prefixes)


def test_parts_together_are_the_whole(policy):
    everything = TrainedParts(vision=True, projector=True, language=True, embeddings="all", heads=True)
    train_parts(policy, None, everything)
    assert trained(policy) == names(policy, "")


def test_rows_alone_are_let_go_again(policy):
    train_parts(policy, None, TrainedParts(**NOTHING | {"embeddings": "new_rows"}))
    assert len(held_matrices(policy.model)) == 1
    train_parts(policy, None, TrainedParts(**NOTHING | {"projector": True}))
    train_parts(policy, None, TrainedParts(**NOTHING | {"embeddings": "all"}))
    assert held_matrices(policy.model) == []


def test_an_adapter_stands_for_the_language():
    policy = build_tiny(seed=0)
    add_structural_tokens(policy.tokenizer, policy.model)
    adapted(policy)
    train_parts(policy, None, TrainedParts(**NOTHING | {"language": True, "projector": True}))
    adapter = {name for name, _ in policy.model.named_parameters() if ".lora_" in name}
    assert adapter and trained(policy) == adapter | names(policy, "model.visual.merger.")
    train_parts(policy, None, TrainedParts(**NOTHING | {"projector": True}))
    assert trained(policy) == names(policy, "model.visual.merger.")
