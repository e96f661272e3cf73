"""Optimizers by name of the stage that uses them; learning rates are set from outside, step by step."""

import logging

from torch import nn, optim

from museg.training.job import ColdStartSettings, OptimizerSettings


def adamw(module: nn.Module, settings: OptimizerSettings) -> optim.Optimizer:
    """AdamW over everything that is trained, with one learning rate; `settings.kind` says whose.

    bitsandbytes keeps the moments of tensors with fewer than 4,096 numbers in 32 bits. Raises ValueError where it is
    asked for and not installed.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return _class_of(settings.kind)(
        parameters, lr=settings.lr, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay
    )


def _class_of(kind: str) -> type[optim.Optimizer]:
    if kind == "adamw":
        return optim.AdamW
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # or it tells of kernels nobody asked for
    try:
        from bitsandbytes.optim import AdamW8bit, PagedAdamW8bit
    except ImportError as error:
        raise ValueError(
            f"optimizer.kind={kind} needs the package bitsandbytes: pip install -e '.[eightbit]', or use adamw"
        ) from error
    return {"adamw_8bit": AdamW8bit, "paged_adamw_8bit": PagedAdamW8bit}[kind]


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
