"""What Lightning iterates over: this process's share of each optimizer step, decoded ahead."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace

from museg.data.clips import ClipLoader, StepBatch
from museg.data.examples import GroundingExample
from museg.training import processes
from museg.training.profile import PartClock


class StepStream:
    """Iterable of `StepBatch` for the steps `start_step .. end_step - 1`; its length is their number.

    Which examples a step holds is a pure function of the step (`examples_of`), so a resumed run asks for exactly what
    the killed one would have asked for. A clip's `position` is its place in the whole step. `wait_s` is how long the
    latest step's clips were waited for; `parts` measures that, too.
    """

    def __init__(
        self,
        clips: ClipLoader,
        examples_of: Callable[[int], list[GroundingExample]],
        start_step: int,
        end_step: int,
        parts: PartClock = nullcontext,
    ) -> None:
        self.clips = clips
        self.examples_of = examples_of
        self.steps = range(start_step, end_step)
        self.parts = parts
        self.wait_s = 0.0

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[StepBatch]:
        rank, world_size = processes.rank(), processes.world_size()
        plan = ((step, self.examples_of(step)[rank::world_size]) for step in self.steps)
        batches = self.clips.stream(plan)
        while True:
            asked_at = time.perf_counter()
            with self.parts("waiting for video"):
                batch = next(batches, None)
            if batch is None:
                return
            self.wait_s = time.perf_counter() - asked_at
            clips = [replace(clip, position=rank + world_size * clip.position) for clip in batch.clips]
            yield replace(batch, clips=clips)
