"""The phases of a run as a value: which one a step belongs to, and which stretches one optimizer trains."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from museg.phases.trained_parts import TrainedParts

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_RESERVED = ("cold_start",)  # what comes before step 0 goes by this name in logs and folders


@dataclass(frozen=True)
class Phase:
    """A stretch of `num_steps` optimizer steps with one prompt wording and one set of reward terms.

    rewards_off: terms of the reward mix that do not count here.
    position: place among the phases as declared, from 0, those of zero steps included; set by `PhaseSchedule`.
    trains: what learns here; None: whatever the model lets learn.
    lr, prompts_per_step: in place of the run's own; None: those.
    """

    name: str
    num_steps: int
    prompt: str
    rewards_off: tuple[str, ...] = ()
    position: int = 0
    trains: TrainedParts | None = None
    lr: float | None = None
    prompts_per_step: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _RESERVED:
            raise ValueError(
                f"phase name {self.name!r}: use letters, digits, '_' and '-', beginning with a letter (it becomes a "
                f"folder name), and not {', '.join(_RESERVED)}"
            )
        if self.num_steps < 0:
            raise ValueError(f"phase {self.name}: num_steps must be 0 or more, given {self.num_steps}")
        if self.lr is not None and not self.lr > 0:
            raise ValueError(f"phase {self.name}: lr must be above 0 (null: that of the optimizer), given {self.lr}")
        if self.prompts_per_step is not None and self.prompts_per_step < 1:
            raise ValueError(f"phase {self.name}: prompts_per_step must be 1 or more, given {self.prompts_per_step}")


@dataclass(frozen=True)
class Fit:
    """Steps `start_step` to `end_step` (exclusive) that one optimizer and one learning-rate curve train."""

    name: str
    start_step: int
    end_step: int
    phases: tuple[Phase, ...]

    @property
    def num_steps(self) -> int:
        """Length of the stretch in optimizer steps."""
        return self.end_step - self.start_step


@dataclass(frozen=True)
class PhaseSchedule:
    """Phases in order. Those of zero steps vanish, and their restart with them.

    restart: every phase begins with a fresh optimizer, a learning rate from the top and a re-anchored reference; off,
    all of them are one fit in which only prompt and rewards change.

    Source: THUNLP-MT/MUSEG 889565e trains its two stages as two processes, which is what `restart` names.
    """

    phases: tuple[Phase, ...]
    restart: bool

    def __post_init__(self) -> None:
        names = [phase.name for phase in self.phases]
        if len(set(names)) < len(names):
            raise ValueError(f"phase names must differ, given {', '.join(names)}")
        kept = tuple(replace(phase, position=k) for k, phase in enumerate(self.phases) if phase.num_steps > 0)
        if not kept:
            raise ValueError("a phase schedule needs at least one phase of one step or more")
        if not self.restart and len({(phase.trains, phase.lr) for phase in kept}) > 1:
            raise ValueError(
                "phases that train other parts, or at another lr, each need an optimizer of their own: set "
                "phase.restart=true, or give all of them the same"
            )
        if len({phase.trains is None for phase in kept}) > 1:
            raise ValueError("either every phase names what it trains (trains), or none does")
        object.__setattr__(self, "phases", kept)

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all phases."""
        return sum(phase.num_steps for phase in self.phases)

    def locate(self, global_step: int) -> tuple[Phase, int]:
        """The phase of `global_step` and the step's number inside it, both from 0. ValueError outside the schedule."""
        step_in_phase = global_step
        if global_step >= 0:
            for phase in self.phases:
                if step_in_phase < phase.num_steps:
                    return phase, step_in_phase
                step_in_phase -= phase.num_steps
        raise ValueError(f"step {global_step} is outside the schedule of steps 0 to {self.total_steps - 1}")

    def start_of(self, phase_name: str) -> int:
        """The first global step of a phase. ValueError for a name that the schedule does not hold."""
        start_step = 0
        for phase in self.phases:
            if phase.name == phase_name:
                return start_step
            start_step += phase.num_steps
        raise ValueError(f"no phase {phase_name!r}; this schedule has {', '.join(phase.name for phase in self.phases)}")

    def ends(self) -> dict[str, int]:
        """Phase name -> number of steps done when it is over, in order."""
        return {phase.name: self.start_of(phase.name) + phase.num_steps for phase in self.phases}

    def fits(self) -> tuple[Fit, ...]:
        """The stretches trained by one optimizer each: one per phase with restart, else a single one."""
        if not self.restart:
            return (Fit("_".join(phase.name for phase in self.phases), 0, self.total_steps, self.phases),)
        starts = [self.start_of(phase.name) for phase in self.phases]
        return tuple(
            Fit(phase.name, start_step, start_step + phase.num_steps, (phase,))
            for phase, start_step in zip(self.phases, starts, strict=True)
        )

    def fit_at(self, global_step: int) -> Fit:
        """The fit that trains `global_step`. ValueError outside the schedule."""
        phase, _ = self.locate(global_step)
        return next(fit for fit in self.fits() if phase in fit.phases)


def build_schedule(
    steps: int, total_steps: int, restart: bool, phases: Mapping[str, Mapping[str, Any]]
) -> PhaseSchedule:
    """Make the schedule that a `phase` configuration describes.

    steps, total_steps: `phase.steps` and `phase.total_steps`; the first acts only through the phases that refer to it
    and is named in messages.
    phases: name -> {num_steps: int or None, prompt: str, rewards: {term: bool}}; None takes what the others leave of
    total_steps (possibly nothing), a term set to false is off in that phase. Further `trains` (the fields of
    `TrainedParts`), `lr` and `prompts_per_step`, as in `Phase`.

    Raises ValueError when the lengths do not add up to total_steps, or more than one is None.
    """
    if not phases:
        raise ValueError("phase.phases is empty: name at least one phase")
    if total_steps < 1 or steps < 0:
        raise ValueError(
            f"phase.total_steps must be 1 or more and phase.steps 0 or more, given {total_steps} and {steps}"
        )
    lengths = {name: _field(name, phase, "num_steps") for name, phase in phases.items()}
    open_ended = [name for name, length in lengths.items() if length is None]
    fixed_steps = sum(length for length in lengths.values() if length is not None)
    if len(open_ended) > 1:
        raise ValueError(f"only one phase may have num_steps null (the remainder), given {', '.join(open_ended)}")
    if fixed_steps > total_steps or (not open_ended and fixed_steps < total_steps):
        raise ValueError(
            f"phases of fixed length take {fixed_steps} steps, but phase.total_steps={total_steps} "
            f"(phase.steps={steps}): choose phase.steps at most phase.total_steps, or give one phase num_steps null "
            "to take the remainder"
        )
    remainder = total_steps - fixed_steps
    return PhaseSchedule(
        tuple(
            _build_phase(name, phase, remainder if lengths[name] is None else lengths[name])
            for name, phase in phases.items()
        ),
        restart,
    )


def _build_phase(name: str, phase: Mapping[str, Any], num_steps: int) -> Phase:
    rewards, trains = phase.get("rewards") or {}, phase.get("trains")
    try:
        parts = None if trains is None else TrainedParts(**trains)
    except TypeError as error:
        keys = ", ".join(field.name for field in fields(TrainedParts))
        raise ValueError(f"phase {name}: trains must be a mapping of {keys}, given {trains}") from error
    except ValueError as error:
        raise ValueError(f"phase {name}: {error}") from error
    return Phase(
        name,
        num_steps,
        _field(name, phase, "prompt"),
        tuple(term for term, is_on in rewards.items() if not is_on),
        trains=parts,
        lr=phase.get("lr"),
        prompts_per_step=phase.get("prompts_per_step"),
    )


def _field(name: str, phase: Mapping[str, Any], key: str) -> Any:
    if key not in phase:
        raise ValueError(f"phase {name} lacks {key!r}: a phase is written {{num_steps, prompt, rewards}}")
    return phase[key]
