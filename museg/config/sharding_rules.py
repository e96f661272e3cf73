"""How processes may hold the weights, and what cannot be had where each of them has but a part.

As in `museg.config.rules`, a rule reads plain settings and yields every violation it finds.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from museg.config.methods import has_heads, is_supervised
from museg.config.training_schema import DeepSpeedConfig, ModelParallelConfig
from museg.config.violation import Violation
from museg.targets import TARGET

ROWS_PER_PASS = 32
"""`museg.policy.log_probs.ROWS_PER_PASS`, which cannot be imported here: it brings torch."""

KNOWN = {
    "auto": "trainer.strategy=auto",
    "ddp": "trainer.strategy=ddp",
    "deepspeed_stage_2": "trainer=zero2",
    "deepspeed_stage_3": "trainer=zero3",
    "fsdp": "trainer=fsdp",
    "zero2": "trainer=zero2",
    "zero3": "trainer=zero3",
}
"""Strategies by the names that Lightning or an option here has for them or their like -> how they are chosen here."""


def strategy(settings: Mapping[str, Any]) -> Iterator[Violation]:
    """Whole weights by a name, shares of them as the options have them; no rule and no count knows anything else."""
    asked = settings["trainer"]["strategy"]
    if asked in ("auto", "ddp") or (isinstance(asked, Mapping) and asked.keys() == _keys_of(asked.get(TARGET))):
        return
    close = difflib.get_close_matches(asked.lower() if isinstance(asked, str) else "", KNOWN, n=1, cutoff=0.5)
    remedy = f"did you mean {KNOWN[close[0]]}?" if close else "choose one of these"
    yield Violation("trainer.strategy", "must be auto or ddp, or come with trainer=zero2, zero3 or fsdp", asked, remedy)


def _keys_of(target: Any) -> set[str]:
    """The settings of a strategy by what constructs it; none where it is not one of ours."""
    kind = {kind._target_: kind for kind in (DeepSpeedConfig, ModelParallelConfig)}.get(str(target))
    return {item.name for item in fields(kind)} if kind else set()


def shards_weights(strategy: Any) -> bool:
    """Whether a strategy's processes hold but a part of the weights each: FSDP2, ZeRO-3."""
    return isinstance(strategy, Mapping) and strategy.get("stage", 3) == 3  # FSDP2 has no stages


def sharded_weights(settings: Mapping[str, Any]) -> Iterator[Violation]:
    """Nobody compiles layers or writes them out in between, and all processes gather them equally often."""
    trainer, rollout, objective = settings["trainer"], settings["rollout"], settings["objective"]
    if not shards_weights(trainer["strategy"]):
        return
    if trainer["compile"]:
        rule = "needs whole weights in every process"
        yield Violation("trainer.compile", rule, True, "use trainer=zero2 or ddp, or trainer.compile=false")
    for name, logger in settings["logger"].items():
        if logger.get("best_model"):
            rule = "cannot be written in the midst of a fit where weights are sharded"
            yield Violation(f"logger.{name}.best_model", rule, True, "leave it out, or use trainer=zero2 or ddp")
    if has_heads(settings):
        return  # which forwards all rows of a micro-batch at once
    learns_given = is_supervised(settings)
    rows = trainer["micro_batch_prompts"] * (1 if learns_given else rollout["num_generations"])
    if rows > ROWS_PER_PASS and (learns_given or not objective["shared_prefix"]):
        rule = f"must make {ROWS_PER_PASS} completions at most, not {rows}: one pass through a decoder that is sharded"
        remedy = "lower it: a process with fewer prompts would gather weights less often than the others, and they wait"
        yield Violation("trainer.micro_batch_prompts", rule, trainer["micro_batch_prompts"], remedy)
