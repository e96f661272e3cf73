"""What cannot be had together with weights that each process has but a part of.

As in `museg.config.rules`, a rule reads plain settings and yields every violation it finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from museg.config.violation import Violation
from museg.targets import TARGET

ROWS_PER_PASS = 32
"""`museg.policy.log_probs.ROWS_PER_PASS`, which cannot be imported here: it brings torch."""


def shards_weights(strategy: Any) -> bool:
    """Whether a strategy's processes hold but a part of the weights each: FSDP2, ZeRO-3."""
    if not isinstance(strategy, Mapping):
        return False
    return strategy[TARGET].endswith("ModelParallelStrategy") or strategy.get("stage") == 3


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
    is_supervised = settings["method"][TARGET].endswith("SftModule")
    rows = trainer["micro_batch_prompts"] * (1 if is_supervised else rollout["num_generations"])
    if rows > ROWS_PER_PASS and (is_supervised or not objective["shared_prefix"]):
        rule = f"must make {ROWS_PER_PASS} completions at most, not {rows}: one pass through a decoder that is sharded"
        remedy = "lower it: a process with fewer prompts would gather weights less often than the others, and they wait"
        yield Violation("trainer.micro_batch_prompts", rule, trainer["micro_batch_prompts"], remedy)
