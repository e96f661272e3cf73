"""Rules about what trains and with what: an adapter in place of all weights, moments in 8 bits.

As in `museg.config.rules`, a rule reads plain settings and yields every violation it finds.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from museg.config.violation import Violation


def adapter(settings: Mapping[str, Any]) -> Iterator[Violation]:
    """An adapter is on something, peft is there to make it, and its dropout is not taken for a gap."""
    lora, importance = settings["model"]["lora"], settings["objective"]["importance"]
    if not lora["rank"]:
        return
    if not any(lora["targets"].values()):
        yield Violation("model.lora.targets", "must leave one on", lora["targets"], "or set model.lora.rank=0")
    if importlib.util.find_spec("peft") is None:
        rule = "needs the package peft, which is not installed"
        yield Violation("model.lora.rank", rule, lora["rank"], "pip install -e '.[lora]', or model.lora.rank=0")
    if lora["dropout"] and importance != "off":
        rule = "would weigh tokens by the dropout of an adapter, which sampling has none of"
        yield Violation("objective.importance", rule, importance, "use off, or model.lora.dropout=0")


def moments(settings: Mapping[str, Any]) -> Iterator[Violation]:
    """Moments in 8 bits have their package, whole weights beside them, and a GPU to page from."""
    kind, trainer = settings["optimizer"]["kind"], settings["trainer"]
    if kind not in ("adamw_8bit", "paged_adamw_8bit"):
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        rule = "needs the package bitsandbytes, which is not installed"
        yield Violation("optimizer.kind", rule, kind, "pip install -e '.[eightbit]', or optimizer.kind=adamw")
    if isinstance(trainer["strategy"], Mapping):  # shares of weights, gradients or moments
        rule = "needs whole weights in every process"
        yield Violation("optimizer.kind", rule, kind, "use trainer=single_gpu or ddp, or optimizer.kind=adamw")
    if kind.startswith("paged") and trainer["accelerator"] == "cpu":
        rule = "moves moments between a GPU and the host, so there must be a GPU"
        yield Violation("optimizer.kind", rule, kind, "use optimizer.kind=adamw_8bit")
