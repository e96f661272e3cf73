from dataclasses import replace
from pathlib import Path

import pytest

from museg.data.dataset import GroundingData, hold_out
from museg.data.examples import GroundingExample
from museg.data.step_sampler import StepSampler
from museg.phases.schedule import Phase, PhaseSchedule
from museg.temporal.segments import Segment


def file_of(name: str, num_rows: int) -> tuple[GroundingExample, ...]:
    return tuple(
        GroundingExample(f"{name}:{row}", f"{name}{row}.mp4", "q", (Segment(0.0, 1.0),), None, "tvg", "x")
        for row in range(num_rows)
    )


def schedule(*num_steps: int) -> PhaseSchedule:
    return PhaseSchedule(tuple(Phase(f"p{n}", steps, "plain") for n, steps in enumerate(num_steps)), restart=True)


def drawn(sampler: StepSampler, steps) -> list[str]:
    return [example.example_id for step in steps for example in sampler.examples(step)]


def data(order: str) -> GroundingData:
    return GroundingData((file_of("a", 28), file_of("b", 42)), (), Path("."), order)


def test_data_follow_the_step_wherever_the_phases_meet():
    for phases in (schedule(2, 3), schedule(4, 1), schedule(5)):
        sampler = StepSampler(data("by_step"), phases, prompts_per_step=14, seed=0)
        # 28 and 42 rows at 14 a step: two steps of the first file, three of the second, every row once
        assert sorted(drawn(sampler, range(2))) == sorted(f"a:{row}" for row in range(28))
        assert sorted(drawn(sampler, range(2, 5))) == sorted(f"b:{row}" for row in range(42))


def test_held_out_rows_move_no_file_to_another_step():
    files = [
        [replace(item, video=f"{item.video}.{number % 40}") for number, item in enumerate(file_of(name, size))]
        for name, size in (("a", 5600), ("b", 7000))
    ]
    kept, held_out = hold_out(files, 0.02, seed=0)
    assert held_out and all(len(file) < size for file, size in zip(kept, (5600, 7000), strict=True))
    split = GroundingData(kept, held_out, Path("."), "by_step", num_annotated=(5600, 7000))
    sampler = StepSampler(split, schedule(400, 1400), prompts_per_step=14, seed=0)
    for first_step in (0, 900):  # both passes over the files
        for file, steps in zip(kept, (range(400), range(400, 900)), strict=True):
            names = drawn(sampler, (first_step + step for step in steps))
            assert set(names) == {item.example_id for item in file}  # every kept row, no row of the other file


def test_data_follow_the_phase_when_asked_to():
    sampler = StepSampler(data("by_phase"), schedule(4, 1), prompts_per_step=14, seed=0)
    assert {name.split(":")[0] for name in drawn(sampler, range(4))} == {"a"}
    assert {name.split(":")[0] for name in drawn(sampler, [4])} == {"b"}
    first, second = drawn(sampler, range(2)), drawn(sampler, range(2, 4))
    assert sorted(first) == sorted(second)
    assert first != second  # used up after two steps, then in another order


def test_phase_of_no_steps_keeps_the_file_of_the_other():
    sampler = StepSampler(data("by_phase"), schedule(0, 3), prompts_per_step=14, seed=0)
    assert {name.split(":")[0] for name in drawn(sampler, range(3))} == {"b"}


def test_step_is_a_pure_function_of_step_and_seed():
    one, other = (StepSampler(data("by_step"), schedule(5), 14, seed) for seed in (0, 1))
    assert drawn(one, [3]) == drawn(StepSampler(data("by_step"), schedule(5), 14, 0), [3])
    assert drawn(one, [3]) != drawn(other, [3])


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="prompts_per_step"):
        StepSampler(data("by_step"), schedule(5), 0, 0)
    with pytest.raises(ValueError):
        StepSampler(data("by_step"), schedule(5), 14, 0).examples(5)


def test_a_phase_may_have_prompts_of_its_own():
    phases = (Phase("a", 2, "plain"), Phase("b", 2, "plain", prompts_per_step=21))
    own = PhaseSchedule(phases, restart=True)
    sampler = StepSampler(data("by_phase"), own, prompts_per_step=14, seed=0)
    assert [len(sampler.examples(step)) for step in range(4)] == [14, 14, 21, 21]
    assert sorted(drawn(sampler, [2, 3])) == sorted(f"b:{row}" for row in range(42))  # every row once
    with pytest.raises(ValueError, match=r"phase b has prompts_per_step of its own.*set dataset\.order=by_phase"):
        StepSampler(data("by_step"), own, prompts_per_step=14, seed=0)
