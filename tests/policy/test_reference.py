import torch

from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.reference import Reference
from tests.policy.drawn_clips import drawn_batch


def log_probs(policy):
    ids, mask = encode_completions(policy, ["<answer>2.0-5.0</answer>", "<think>"])
    with torch.no_grad():
        return completion_log_probs(policy, drawn_batch(policy, 2), ids, mask, 1)


def shift(policy) -> None:
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(0.01)


def test_the_copy_stays_while_the_policy_moves(own_policy):
    reference = Reference(own_policy)
    before = log_probs(own_policy)
    shift(own_policy)
    assert torch.equal(log_probs(reference.policy), before)
    assert not torch.equal(log_probs(own_policy), before)
    assert not any(parameter.requires_grad for parameter in reference.policy.model.parameters())
    assert all(parameter.requires_grad for parameter in own_policy.model.parameters())


def test_re_anchoring_takes_over_the_weights_without_sharing_them(own_policy):
    reference = Reference(own_policy)
    shift(own_policy)
    reference.re_anchor(own_policy.model)
    anchored = log_probs(own_policy)
    assert torch.equal(log_probs(reference.policy), anchored)
    shift(own_policy)
    assert torch.equal(log_probs(reference.policy), anchored)


def test_saved_weights_come_back(own_policy, tmp_path):
    reference = Reference(own_policy)
    before = log_probs(reference.policy)
    reference.save(tmp_path / "reference" / "timestamp")
    shift(own_policy)
    reference.re_anchor(own_policy.model)
    reference.load(tmp_path / "reference" / "timestamp")
    assert torch.equal(log_probs(reference.policy), before)


def test_a_module_that_owns_a_reference_registers_nothing(own_policy):
    class Owner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.reference = Reference(own_policy)

    owner = Owner()
    assert not list(owner.parameters()) and not owner.state_dict() and not list(owner.children())


def test_the_dtype_is_that_of_the_weights_alone(own_policy):
    """Frequencies rounded to bfloat16 would turn a token at position 3,700 by up to 3,700 / 512 radians too far."""
    model = Reference(own_policy).to("cpu", torch.bfloat16).policy.model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    exact = dict(own_policy.model.named_buffers())
    assert any("inv_freq" in name for name in exact)
    assert all(torch.equal(buffer, exact[name]) for name, buffer in model.named_buffers())
