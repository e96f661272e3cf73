"""Which examples an optimizer step trains on."""

from museg.data.dataset import GroundingData
from museg.data.examples import GroundingExample
from museg.phases.batches import by_phase, by_step
from museg.phases.schedule import PhaseSchedule


class StepSampler:
    """The examples of each reinforcement step, a pure function of the step, the same on every rank."""

    def __init__(self, data: GroundingData, schedule: PhaseSchedule, prompts_per_step: int, seed: int) -> None:
        if prompts_per_step < 1:
            raise ValueError(f"prompts_per_step must be at least 1, got {prompts_per_step}")
        self.data, self.schedule = data, schedule
        self._shared = {
            "prompts_per_step": prompts_per_step,
            "file_sizes": [len(file) for file in data.files],
            "seed": seed,
        }

    def examples(self, global_step: int) -> list[GroundingExample]:
        """The examples of step `global_step`, in order. Raises ValueError outside the schedule."""
        phase, step_in_phase = self.schedule.locate(global_step)
        if self.data.order == "by_step":
            refs = by_step(global_step, **self._shared, num_draws=self.data.num_annotated)
        else:
            refs = by_phase(phase.position, step_in_phase, **self._shared)
        return [self.data.files[ref.file][ref.row] for ref in refs]
