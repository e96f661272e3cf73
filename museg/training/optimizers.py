"""Optimizers by name of the stage that uses them; learning rates are set from outside, step by step."""

from torch import nn, optim

from museg.training.job import ColdStartSettings, OptimizerSettings


def adamw(module: nn.Module, settings: OptimizerSettings) -> optim.AdamW:
    """AdamW over everything that is trained, with one learning rate."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return optim.AdamW(
        parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )


def muon_and_adamw(model: nn.Module, settings: ColdStartSettings) -> list[optim.Optimizer]:
    """Muon for the weight matrices inside the layers, AdamW for embeddings, norms and biases.

    A model that starts from random weights learns to bind query and object in about half the steps that AdamW alone
    takes. Each group remembers its peak rate in `peak_lr`.
    """
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inside else others).append(parameter)
    muon = optim.Muon(matrices, lr=settings.matrix_lr, momentum=settings.momentum, weight_decay=0.0)
    rest = optim.AdamW(others, lr=settings.lr, weight_decay=0.0)
    for optimizer in (muon, rest):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, rest]
