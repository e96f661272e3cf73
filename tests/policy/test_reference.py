import pytest
import torch
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from museg.policy.adapter import TRAINED, adapter_weights, attach
from museg.policy.log_probs import completion_log_probs
from museg.policy.processing import encode_completions
from museg.policy.reference import AdapterReference, Reference, reference_of
from museg.policy.tiny import build_tiny
from tests.policy.adapted_policy import adapted, lora, moved
from tests.policy.drawn_clips import drawn_batch

GPU = torch.device("cuda")


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
    (tmp_path / "new").touch()
    weights = tmp_path / "reference" / "timestamp" / "reference.safetensors"
    assert weights.stat().st_mode == (tmp_path / "new").stat().st_mode
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


class Moves(TorchFunctionMode):
    """Notes what is moved to a GPU, and leaves it where it is."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not torch.Tensor.to or GPU not in args:
            return function(*args, **(kwargs or {}))
        self.moved = [*getattr(self, "moved", ()), args[0]]
        return args[0]


def test_a_gpu_never_holds_it_in_the_type_it_had(own_policy):
    reference = Reference(own_policy)
    with Moves() as moves:
        reference.to(GPU, torch.bfloat16)
    wide = {id(tensor) for tensor in moves.moved if tensor.dtype == torch.float32}
    assert len(moves.moved) > len(wide) and wide <= set(map(id, reference.policy.model.buffers()))


def asked(reference):
    """Log-probabilities of the reference, on the way the training asks for them."""
    with reference.acting() as policy:
        return log_probs(policy)


def test_it_answers_without_gradients_and_leaves_the_mode(own_policy):
    own_policy.model.train()
    with Reference(own_policy).acting() as policy:
        assert not torch.is_grad_enabled() and not policy.model.training
    assert torch.is_grad_enabled() and own_policy.model.training


def test_the_reference_of_a_new_adapter_is_the_model_without_it(own_policy):
    base = log_probs(own_policy)
    own_policy.lora = lora(dropout=0.5)
    attach(own_policy, seed=0)
    reference, num_weights = reference_of(own_policy), len(own_policy.model.state_dict())
    moved(own_policy, seed=1)
    own_policy.model.train()
    assert torch.equal(asked(reference), base)  # bit by bit, and without dropout
    assert own_policy.model.training and len(own_policy.model.state_dict()) == num_weights  # no second copy
    own_policy.model.eval()
    assert not torch.equal(log_probs(own_policy), base)


def test_anchored_again_it_is_the_policy_of_that_moment(own_policy):
    adapted(own_policy, lora(dropout=0.5))
    own_policy.model.eval()
    for seed in (1, 2):  # a second time it takes the place of the first
        boundary, reference = log_probs(own_policy), reference_of(own_policy)
        moved(own_policy, seed).model.train()
        assert torch.equal(asked(reference), boundary)
        own_policy.model.eval()
        assert not torch.equal(log_probs(own_policy), boundary)
    trained = {name for name, weight in own_policy.model.named_parameters() if weight.requires_grad}
    assert trained and all(f".{TRAINED}." in name for name in trained)


def test_only_the_adapter_is_written_and_comes_back(own_policy, tmp_path):
    own_policy.lora = lora()
    attach(own_policy, seed=0)
    base = log_probs(own_policy)
    reference_of(own_policy).save(tmp_path / "first")
    boundary = log_probs(moved(own_policy, seed=1))
    reference_of(own_policy).save(tmp_path / "second")
    assert not load_file(tmp_path / "first" / "reference.safetensors")  # switched off
    assert load_file(tmp_path / "second" / "reference.safetensors").keys() == adapter_weights(own_policy.model).keys()
    reference = reference_of(moved(own_policy, seed=2))
    for folder, expected in (("first", base), ("second", boundary), ("first", base)):
        reference.load(tmp_path / folder)
        assert torch.equal(asked(reference), expected)


def test_an_adapter_of_another_rank_is_no_reference(own_policy, tmp_path):
    wide = adapted(build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1), lora(rank=8))
    AdapterReference(wide).save(tmp_path)
    with pytest.raises(ValueError, match="weights of another adapter"):
        AdapterReference(adapted(own_policy)).load(tmp_path)
