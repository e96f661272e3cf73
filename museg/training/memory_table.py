"""A plan of memory for people: a table by part and moment, and whether the machine at hand has that much."""

from dataclasses import dataclass
from pathlib import Path

import torch

from museg.training.memory import MOMENTS, PARTS, Plan, peak, total

KIB, MIB, GIB = 2**10, 2**20, 2**30
HEADROOM = 0.1
"""Share of a device left for what is not counted."""


@dataclass(frozen=True)
class Room:
    """Memory at hand: of one GPU, or of this machine for all of a run's processes on it."""

    name: str
    free_bytes: int
    num_processes: int = 1


def gpu_room() -> Room | None:
    """The GPU with least free memory; None where there is no GPU."""
    if not torch.cuda.is_available():
        return None
    free, number = min((torch.cuda.mem_get_info(number)[0], number) for number in range(torch.cuda.device_count()))
    return Room(f"GPU {number} ({torch.cuda.get_device_name(number)})", free)


def host_room(num_processes: int) -> Room:
    """This machine's memory that nobody uses; Linux only, elsewhere ValueError."""
    file = Path("/proc/meminfo")
    if not file.exists():
        raise ValueError("how much memory is free is read from /proc/meminfo, which only Linux has")
    entries = dict(line.split(":", 1) for line in file.read_text().splitlines())
    return Room("this machine", int(entries["MemAvailable"].split()[0]) * KIB, num_processes)


def as_table(plan: Plan) -> str:
    """Parts down, moments across, totals below; in GiB, or in MiB where all of it is less than one GiB."""
    unit, name = (GIB, "GiB") if peak(plan)[1] >= GIB else (MIB, "MiB")
    moments = [moment for moment in MOMENTS if moment in plan]
    rows = [(f"{name} per process", moments)]
    rows += [(part, [_figure(plan[moment][part] / unit) for moment in moments]) for part in PARTS]
    rows.append(("together", [_figure(total(plan, moment) / unit) for moment in moments]))
    return "\n".join(f"{head:<16}" + "".join(f"{cell:>16}" for cell in cells) for head, cells in rows)


def _figure(value: float) -> str:
    return f"{value:.1f}" if value else "-"


def size_text(num_bytes: float) -> str:
    """`61.3 GiB`, or `20.1 MiB` below one GiB."""
    return f"{num_bytes / GIB:.1f} GiB" if num_bytes >= GIB else f"{num_bytes / MIB:.1f} MiB"


def fits(num_bytes: float, capacity_bytes: float) -> bool:
    """Whether so much leaves a device its headroom."""
    return num_bytes <= (1 - HEADROOM) * capacity_bytes


def verdict(plan: Plan, room: Room | None) -> str:
    """One line: whether the machine at hand is large enough, and what would make it so."""
    if room is None:
        return "warning: this machine has no GPU, so there is nothing to compare with"
    moment, needed = peak(plan)
    return compared(needed, f"during the {moment}", room, remedy(plan))


def compared(num_bytes: float, when: str, room: Room, remedy: str) -> str:
    """One line: whether there is so much for each of the processes, and the remedy where there is not."""
    needed = num_bytes * room.num_processes
    told = f"{size_text(needed)} {when}, and {room.name} has {size_text(room.free_bytes)} free"
    if fits(needed, room.free_bytes):
        return f"fits: {told}"
    if needed <= room.free_bytes:
        return f"warning: tight: {told}; {HEADROOM:.0%} should be left for what is not counted. {remedy}"
    return f"warning: too small: {told}. {remedy}"


def too_few(num_processes: int) -> list[str]:
    """A warning where this machine has GPUs, but not one for each process."""
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not 0 < found < num_processes:
        return []
    gpus = f"{found} GPU{'s' * (found > 1)}"
    return [
        f"warning: too few: {num_processes} processes want a GPU each, and this machine has {gpus}. Use "
        f"trainer.devices={found}, with more machines by trainer.num_nodes"
    ]


def on_host(num_bytes: float, done: str, num_processes: int, remedy: str) -> str:
    """The host's memory, so much of it for each process while the weights are `done` ("loaded", "updated").

    It is compared where there is a GPU: elsewhere another machine is meant.
    """
    when = f"in the host's memory, while the weights are {done} by {num_processes} process{'es' * (num_processes > 1)}"
    if torch.cuda.is_available():
        return compared(num_bytes, when, host_room(num_processes), remedy)
    return f"{size_text(num_bytes * num_processes)} {when}"


def remedy(plan: Plan) -> str:
    """What lowers the larger share of the peak: the model's own numbers, or what a step makes of them."""
    of_moment = plan[peak(plan)[0]]
    of_step = of_moment["activations"] + of_moment["cache"]
    if of_step > sum(of_moment.values()) / 2:
        return (
            "Lower trainer.micro_batch_prompts, rollout.max_new_tokens, rollout.num_generations or video.budget, or "
            "use more devices"
        )
    return "Use trainer=zero2 or fsdp with more trainer.devices, or train an adapter (model.lora.rank=16)"
