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


def test_the_cold_start_trains_every_weight_once(outputs):
    job = small_job(outputs, "cold_start.lr=0.003", "cold_start.matrix_lr=0.02")
    model = job.make_policy().model
    muon, rest = muon_and_adamw(model, job.cold_start)
    ids = ids_of([muon, rest])
    assert len(ids) == len(set(ids)) and set(ids) == {id(weight) for weight in model.parameters()}
    assert all(weight.ndim == 2 for weight in muon.param_groups[0]["params"])
    assert id(model.model.language_model.embed_tokens.weight) in ids_of([rest])
    assert (muon.param_groups[0]["peak_lr"], rest.param_groups[0]["peak_lr"]) == (0.02, 0.003)
