import sys
from dataclasses import replace

import pytest
import torch

from museg.training.optimizers import adamw, muon_and_adamw
from tests.training.small_fits import small_job


def ids_of(optimizers) -> list[int]:
    return [id(weight) for one in optimizers for group in one.param_groups for weight in group["params"]]


def test_adamw_takes_what_is_trained(outputs):
    job = small_job(outputs, "optimizer.lr=0.01", "optimizer.weight_decay=0.1")
    model = job.make_policy().model
    model.model.visual.requires_grad_(False)
    optimizer = adamw(model, job.optimizer)
    assert set(ids_of([optimizer])) == {id(weight) for weight in model.parameters() if weight.requires_grad}
    [group] = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.01, (0.9, 0.98), 0.1)


def linear() -> torch.nn.Linear:
    """4,096 weights: fewer keep moments of 32 bits."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Linear(64, 64, bias=False)


def train(module, optimizer, steps) -> None:
    for step in steps:
        inputs = torch.randn(8, 64, generator=torch.Generator().manual_seed(step))
        module(inputs).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def settings(outputs):
    return small_job(outputs, "optimizer.lr=0.01").optimizer


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("kind", ["adamw_8bit", "paged_adamw_8bit"])
def test_moments_in_8_bits_learn_almost_the_same_and_resume_exactly(settings, kind, tmp_path):
    plain, small = linear(), linear()
    optimizer = adamw(small, replace(settings, kind=kind))
    train(plain, adamw(plain, settings), range(6))
    train(small, optimizer, range(6))
    way = (plain.weight - linear().weight).norm()
    assert 0 < (small.weight - plain.weight).norm() < 0.1 * way
    [state] = optimizer.state_dict()["state"].values()
    tensors = state["__bnb_optimizer_quant_state__"].values()
    assert [tensor.dtype for tensor in tensors if tensor.shape == small.weight.shape] == [torch.uint8] * 2

    torch.save([optimizer.state_dict(), small.state_dict()], tmp_path / "state")
    of_optimizer, of_module = torch.load(tmp_path / "state", weights_only=True)
    resumed = linear()
    resumed.load_state_dict(of_module)
    again = adamw(resumed, replace(settings, kind=kind))
    again.load_state_dict(of_optimizer)
    train(small, optimizer, range(6, 9))
    train(resumed, again, range(6, 9))
    assert torch.equal(resumed.weight, small.weight)


def test_without_bitsandbytes_it_says_what_to_do(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ValueError, match=r"optimizer\.kind=adamw_8bit needs the package bitsandbytes: pip install"):
        adamw(linear(), replace(settings, kind="adamw_8bit"))


def test_the_cold_start_trains_every_weight_once(outputs):
    job = small_job(outputs, "cold_start.lr=0.003", "cold_start.matrix_lr=0.02")
    model = job.make_policy().model
    muon, rest = muon_and_adamw(model, job.cold_start)
    ids = ids_of([muon, rest])
    assert len(ids) == len(set(ids)) and set(ids) == {id(weight) for weight in model.parameters()}
    assert all(weight.ndim == 2 for weight in muon.param_groups[0]["params"])
    assert id(model.model.language_model.embed_tokens.weight) in ids_of([rest])
    assert (muon.param_groups[0]["peak_lr"], rest.param_groups[0]["peak_lr"]) == (0.02, 0.003)
