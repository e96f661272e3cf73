"""Optimizers by name of the stage that uses them; learning rates are set from outside, step by step."""

import logging
from collections.abc import Sequence

from torch import nn, optim

from museg.policy.row_training import parameter_groups
from museg.training.job import ColdStartSettings, OptimizerSettings

MUON = "muon"


def optimizers_of(
    module: nn.Module, settings: OptimizerSettings, undecayed: Sequence[nn.Parameter] = ()
) -> list[optim.Optimizer]:
    """What trains everything in `module` that is trained; the matrices `undecayed` keep what gets no gradient.

    A group whose rate is another multiple of the step's than 1 remembers it in `rate_ratio`.
    """
    if settings.kind != MUON:
        return [adamw(module, settings, undecayed)]
    made = muon_and_adamw(module, settings)
    for optimizer in made:
        for group in optimizer.param_groups:
            group["rate_ratio"] = group.pop("peak_lr") / settings.lr
    return made


def adamw(module: nn.Module, settings: OptimizerSettings, undecayed: Sequence[nn.Parameter] = ()) -> optim.Optimizer:
    """AdamW over everything that is trained, with one learning rate; `settings.kind` says whose.

    bitsandbytes keeps the moments of tensors with fewer than 4,096 numbers in 32 bits. Raises ValueError where it is
    asked for and not installed.
    """
    trained = (parameter for parameter in module.parameters() if parameter.requires_grad)
    return _class_of(settings.kind)(
        parameter_groups(trained, undecayed),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.weight_decay,
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


def muon_and_adamw(model: nn.Module, settings: ColdStartSettings | OptimizerSettings) -> list[optim.Optimizer]:
    """Muon for the weight matrices inside the layers, AdamW for embeddings, norms and biases; neither decays weights.

    A model that starts from random weights learns to bind query and object in about half the steps that AdamW alone
    takes. Each group remembers its peak rate in `peak_lr`.
    """
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        (matrices if inside else others).append(parameter)
    muon = optim.Muon(matrices, lr=settings.matrix_lr, momentum=settings.momentum, weight_decay=0.0)
    rest = optim.AdamW(others, lr=settings.lr, weight_decay=0.0)
    for optimizer in (muon, rest):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [muon, rest]
