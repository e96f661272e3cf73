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
        own = [phase.name for phase in schedule.phases if phase.prompts_per_step is not None]
        if own and data.order == "by_step":
            raise ValueError(
                f"phase {own[0]} has prompts_per_step of its own, but data that follow the step must know how many "
                "went before: set dataset.order=by_phase"
            )
        self.data, self.schedule, self.prompts_per_step = data, schedule, prompts_per_step
        self._shared = {"file_sizes": [len(file) for file in data.files], "seed": seed}

    def examples(self, global_step: int) -> list[GroundingExample]:
        """The examples of step `global_step`, in order. Raises ValueError outside the schedule."""
        phase, step_in_phase = self.schedule.locate(global_step)
        shared = self._shared | {"prompts_per_step": phase.prompts_per_step or self.prompts_per_step}
        if self.data.order == "by_step":
            refs = by_step(global_step, **shared, num_draws=self.data.num_annotated)
        else:
            refs = by_phase(phase.position, step_in_phase, **shared)
        return [self.data.files[ref.file][ref.row] for ref in refs]
