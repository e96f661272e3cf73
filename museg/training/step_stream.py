"""What Lightning iterates over: this process's share of each optimizer step, decoded ahead."""

from collections.abc import Callable, Iterator

from museg.data.clips import ClipLoader, StepBatch
from museg.data.examples import GroundingExample


class StepStream:
    """Iterable of `StepBatch` for the steps `start_step .. end_step - 1`; its length is their number.

    Which examples a step holds is a pure function of the step (`examples_of`), so a resumed run asks for exactly what
    the killed one would have asked for.
    """

    def __init__(
        self,
        clips: ClipLoader,
        examples_of: Callable[[int], list[GroundingExample]],
        start_step: int,
        end_step: int,
    ) -> None:
        self.clips = clips
        self.examples_of = examples_of
        self.steps = range(start_step, end_step)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[StepBatch]:
        return self.clips.stream((step, self.examples_of(step)) for step in self.steps)
