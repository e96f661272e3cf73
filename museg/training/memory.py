"""What a run will need of each process' memory: by part and by moment of a step, before anything is loaded.

    rollout         completions are sampled, with keys and values of prompts and completions
    update          forward and backward of a micro-batch; its gradients and those of the micro-batches before it
    optimizer step  all gradients, and what the optimizer makes of them on its way
    validation      held-out questions are answered

Not looked at: a cold start, whose micro-batches are smaller, but which holds whole weights whatever the trainer shares.
Not counted: CUDA's own context, kernels' scratch memory, what the allocator of a GPU cannot use again, Python, decoded
frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from museg.training.step_memory import FLOAT32_BYTES, Load, Shape, cached, pixels, sampling, updating

PARTS = ("weights", "gradients", "optimizer", "reference", "buffers", "activations", "cache", "allocator")
MOMENTS = ("rollout", "update", "optimizer step", "validation")
MASTER_AND_MOMENTS_BYTES = 12
"""Of a trained number under DeepSpeed: float32 weight and two moments of AdamW."""
MOMENTS_BYTES = {"adamw": 8, "adamw_8bit": 2, "paged_adamw_8bit": 2, "muon": 8}
"""Of a trained number: AdamW's two moments, in 32 or (bitsandbytes) 8 bits; of matrices under Muon half of that."""

LIVE_NUMBERS = 1e9
"""Weights that ZeRO-3 lets be gathered at one time. **Source:** DeepSpeed, stage3_max_live_parameters, its default."""
ALLOCATOR_SHARE = 0.38
"""What glibc keeps on a processor of tensors that have gone, as a share of activations and cache. **Source:** resident
size of the tiny model's steps beside `MALLOC_MMAP_THRESHOLD_=65536`, which takes it away: 35 to 43 % in four shapes."""

Plan = Mapping[str, Mapping[str, float]]
"""Moment -> part -> bytes in one process."""


@dataclass(frozen=True)
class Counted:
    """A model's numbers: those that keep their values and those that learn; `largest` has the largest decoder layer.

    `outside` are those outside of all layers of decoder and tower: embeddings, head, merger; `frozen_tower` those of a
    tower and merger that keep all values. `is_adapter`: what learns is an adapter, and a reference is another one.
    """

    frozen: int
    trained: int
    outside: int
    largest: int
    frozen_tower: int = 0
    is_adapter: bool = False

    @property
    def all(self) -> int:
        """All numbers."""
        return self.frozen + self.trained


@dataclass(frozen=True)
class Holding:
    """How one of several processes holds the numbers of a model: bytes of a number, less than one where it is shared.

    Attributes:
        frozen, trained: of a number that keeps its value, or learns.
        gathered: of any number beside these, while completions are sampled.
        gradients, optimizer: of a number that learns.
        stepping: of such a one beside these, while the optimizer steps.
        reference: of any number, or of an adapter's; 0 where there is no reference.
        buffers: of a number that learns: casts, and gradients on their way.
        exchange: bytes of buffers whatever the model's size.
        on_host: of a number that learns, in the memory of a GPU's host while the optimizer steps there.
    """

    frozen: float
    trained: float
    gradients: float
    optimizer: float
    stepping: float
    reference: float
    gathered: float = 0
    buffers: float = 0
    exchange: float = 0
    on_host: float = 0


def whole(frozen_bytes: int, *, optimizer_bytes: int, is_cast: bool, is_exchanged: bool, is_on_gpu: bool) -> Holding:
    """Everything in every process; what learns is float32. `is_exchanged`: DDP keeps gradients a second time.

    torch's AdamW steps all weights at once on a GPU, and so makes one more number of each; on a processor one by one.
    """
    casts, buckets = 2 if is_cast else 0, FLOAT32_BYTES if is_exchanged else 0
    return Holding(
        frozen=frozen_bytes,
        trained=FLOAT32_BYTES,
        gradients=FLOAT32_BYTES,
        optimizer=optimizer_bytes,
        stepping=FLOAT32_BYTES if is_on_gpu and optimizer_bytes == MOMENTS_BYTES["adamw"] else 0,
        reference=frozen_bytes,
        buffers=casts + buckets,
    )


def by_deepspeed(
    stage: int, world_size: int, weight_bytes: int, *, bucket_numbers: float, is_on_host: bool = False
) -> Holding:
    """ZeRO: optimizer state is shared out, from stage 2 gradients too, in stage 3 the weights as well.

    Args:
        weight_bytes: of the weights that are computed with; float32 ones are kept beside them.
        bucket_numbers: numbers that are exchanged at one time.
        is_on_host: the optimizer's part lies in the host's memory, and steps there on gradients in float32.
    """
    share = 1 / world_size
    held = weight_bytes * (share if stage == 3 else 1)
    exchanged = bucket_numbers + (LIVE_NUMBERS if stage == 3 else 0)
    return Holding(
        frozen=held,
        trained=held,
        gathered=weight_bytes if stage == 3 else 0,
        gradients=weight_bytes * (share if stage >= 2 else 1),
        optimizer=0 if is_on_host else MASTER_AND_MOMENTS_BYTES * share,
        stepping=0 if is_on_host else 2 * FLOAT32_BYTES * share,  # the gradient in float32, and AdamW's own numbers
        reference=weight_bytes,  # whole in every stage
        exchange=weight_bytes * exchanged,
        on_host=(MASTER_AND_MOMENTS_BYTES + FLOAT32_BYTES) * share if is_on_host else 0,
    )


def by_fsdp(world_size: int, frozen_bytes: int, compute_bytes: int, counted: Counted) -> Holding:
    """FSDP2: everything is shared out; layers are gathered one after the other, and one ahead.

    What is outside of layers stays gathered until the backward pass, and that of the reference comes beside it. A tower
    that keeps its values is whole.
    """
    share = FLOAT32_BYTES / world_size
    at_once = 2 * (counted.outside + 2 * counted.largest) * compute_bytes + counted.largest * FLOAT32_BYTES
    return Holding(
        frozen=frozen_bytes / world_size,
        trained=share,
        gathered=compute_bytes,
        gradients=share,
        optimizer=2 * share,
        stepping=share,
        reference=compute_bytes / world_size,
        exchange=at_once + counted.frozen_tower * frozen_bytes * (1 - 1 / world_size),
    )


def plan(shape: Shape, counted: Counted, holding: Holding, load: Load, *, samples: bool = True) -> Plan:
    """Bytes in one process by moment and part; without `samples` nothing is sampled in training."""
    state = {
        "weights": counted.frozen * holding.frozen + counted.trained * holding.trained,
        "optimizer": counted.trained * holding.optimizer,
        "reference": (counted.trained if counted.is_adapter else counted.all) * holding.reference,
        "buffers": counted.trained * holding.buffers + holding.exchange,
    }
    gathered = {"weights": state["weights"] + counted.all * holding.gathered}
    gradients = {"gradients": counted.trained * holding.gradients}
    stepping = {"optimizer": state["optimizer"] + counted.trained * holding.stepping}
    moments = {
        "rollout": gathered | _answering(shape, load.prompts, load.generations, load),
        "update": gradients | {"activations": updating(shape, load)},
        "optimizer step": gradients | stepping | {"activations": pixels(shape, load.prompts, load)},
        "validation": gathered | _answering(shape, load.held_out_prompts, 1, load),
    }
    for found in moments.values():
        made = found["activations"] + found.get("cache", 0)
        found["allocator"] = 0 if shape.is_on_gpu else ALLOCATOR_SHARE * made
    left_out = set() if samples else {"rollout"}
    if not load.held_out_prompts:
        left_out.add("validation")
    return {
        moment: {part: (state | found).get(part, 0) for part in PARTS}
        for moment, found in moments.items()
        if moment not in left_out
    }


def _answering(shape: Shape, prompts: int, generations: int, load: Load) -> dict[str, float]:
    kept = cached(shape, prompts, generations, load)
    return {"cache": kept, "activations": max(sampling(shape, prompts, generations, load) - kept, 0)}


def total(plan: Plan, moment: str) -> float:
    """Bytes in one process at that moment."""
    return sum(plan[moment].values())


def peak(plan: Plan) -> tuple[str, float]:
    """The moment that needs most, and what it needs in bytes."""
    moment = max(plan, key=lambda name: total(plan, name))
    return moment, total(plan, moment)
