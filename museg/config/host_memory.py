"""What the processes of a run take of the memory of a machine whose GPUs they train on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from museg.training.memory import Counted, Holding
from museg.training.memory_table import on_host

WEIGHT_BYTES = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True)
class HostBytes:
    """Of one process: before a GPU has its weights, and while an optimizer that lies on the host steps."""

    loading: float
    stepping: float


def host_bytes(counted: Counted, holding: Holding, node: Mapping[str, Any]) -> HostBytes:
    """Loaded are the model, whatever is shared out later, and the copy of it that becomes the reference."""
    numbers = counted.frozen if counted.is_adapter else counted.all
    copies = 2 if holding.reference and not counted.is_adapter else 1
    loading = copies * numbers * WEIGHT_BYTES[node.get("dtype", "float32")]
    return HostBytes(loading, stepping=counted.trained * holding.on_host)


def host_line(host: HostBytes, settings: Mapping[str, Any], num_processes: int, *, is_adapter: bool) -> str:
    """Whether the machine at hand has the larger of the two, which don't come at one time, for all its processes."""
    remedy = "Spread the processes over more machines (trainer.num_nodes)"
    if host.stepping > host.loading:
        remedy += ", or leave the optimizer on the GPUs (trainer.strategy.offload_optimizer=false)"
        return on_host(host.stepping, "updated", num_processes, remedy)
    if settings["model"].get("dtype") == "float32" and (is_adapter or "stage" in settings["trainer"]["strategy"]):
        remedy = "model.dtype=bfloat16 halves it: published weights are bfloat16, and what trains is kept in float32"
    return on_host(host.loading, "loaded", num_processes, remedy)
