from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from museg.phases.schedule import Fit, Phase, PhaseSchedule, build_schedule
from museg.phases.trained_parts import TrainedParts

OPTIONS = Path(__file__).resolve().parents[2] / "conf" / "phase"


def load_schedule(name: str, **changes: int | bool) -> PhaseSchedule:
    """The schedule of an option file, with values changed as on the command line."""
    config = OmegaConf.create({"phase": OmegaConf.load(OPTIONS / f"{name}.yaml")})
    config.phase.pop("defaults")
    config.phase.update(changes)
    return build_schedule(**OmegaConf.to_container(config, resolve=True)["phase"])


def released(steps: int = 400, total_steps: int = 900, restart: bool = True) -> PhaseSchedule:
    return load_schedule("museg", steps=steps, total_steps=total_steps, restart=restart)


def test_the_published_recipe():
    timestamp = Phase("timestamp", 400, "timestamp", (), 0)
    plain = Phase("plain", 500, "plain", ("timestamp",), 1)
    schedule = load_schedule("museg")
    assert schedule == PhaseSchedule((timestamp, plain), restart=True)
    assert schedule.total_steps == 900
    assert schedule.locate(0) == (timestamp, 0)
    assert schedule.locate(399) == (timestamp, 399)
    assert schedule.locate(400) == (plain, 0)
    assert schedule.locate(899) == (plain, 499)
    assert (schedule.start_of("timestamp"), schedule.start_of("plain")) == (0, 400)
    assert schedule.ends() == {"timestamp": 400, "plain": 900}
    assert schedule.fits() == (Fit("timestamp", 0, 400, (timestamp,)), Fit("plain", 400, 900, (plain,)))


def test_without_restart_one_fit_trains_all_phases():
    schedule = released(restart=False)
    assert schedule.fits() == (Fit("timestamp_plain", 0, 900, schedule.phases),)
    assert schedule.fit_at(0) == schedule.fit_at(899) == schedule.fits()[0]


@pytest.mark.parametrize(("steps", "names", "position"), [(0, ["plain"], 1), (900, ["timestamp"], 0)])
def test_a_phase_of_zero_steps_vanishes_with_its_restart(steps, names, position):
    schedule = released(steps=steps)
    assert [phase.name for phase in schedule.phases] == names
    assert [fit.name for fit in schedule.fits()] == names
    assert schedule.phases[0].position == position  # where it stood when it was declared
    with pytest.raises(ValueError, match="no phase"):
        schedule.start_of("timestamp" if names == ["plain"] else "plain")


@pytest.mark.parametrize("name", ["timestamp_always", "timestamp_never"])
def test_single_phases_ignore_the_boundary(name):
    expected = load_schedule(name, total_steps=150)
    assert expected.total_steps == 150 and len(expected.phases) == len(expected.fits()) == 1
    assert load_schedule(name, total_steps=150, steps=400) == expected
    assert expected.phases[0].rewards_off == (("timestamp",) if name == "timestamp_never" else ())


def test_options_that_ignore_the_boundary_say_so():
    for name in ("timestamp_always", "timestamp_never"):
        assert "ignores phase.steps" in (OPTIONS / f"{name}.yaml").read_text().splitlines()[0]


def test_a_boundary_beyond_the_end_names_both_settings():
    with pytest.raises(ValueError, match=r"phase\.total_steps=300 \(phase\.steps=400\)"):
        released(steps=400, total_steps=300)


PLAIN = {"num_steps": 3, "prompt": "plain", "rewards": {}}


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ({}, "empty"),
        ({"a": PLAIN, "b": PLAIN}, "take 6 steps, but phase.total_steps=10"),
        (
            {"a": PLAIN | {"num_steps": None}, "b": PLAIN | {"num_steps": None}},
            "only one phase may have num_steps null",
        ),
        ({"a": PLAIN | {"num_steps": -1}, "b": PLAIN | {"num_steps": None}}, "num_steps must be 0 or more"),
        ({"a/b": PLAIN | {"num_steps": None}}, "phase name 'a/b'"),
        ({"..": PLAIN | {"num_steps": None}}, "phase name"),
        ({"cold_start": PLAIN | {"num_steps": None}}, "phase name 'cold_start'"),
        ({"a": {"num_steps": 10}}, "lacks 'prompt'"),
        ({"a": {"prompt": "plain"}}, "lacks 'num_steps'"),
    ],
)
def test_refused_phases(phases, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(0, 10, True, phases)


def test_refused_lengths_and_names():
    with pytest.raises(ValueError, match="total_steps must be 1 or more"):
        build_schedule(0, 0, True, {"a": PLAIN | {"num_steps": None}})
    with pytest.raises(ValueError, match="names must differ"):
        PhaseSchedule((Phase("a", 1, "plain"), Phase("a", 2, "plain")), restart=True)
    with pytest.raises(ValueError, match="at least one phase"):
        PhaseSchedule((Phase("a", 0, "plain"),), restart=True)


PARTS = {"vision": False, "projector": True, "language": False, "embeddings": "none", "heads": False}


def test_phases_may_name_what_they_train_and_how():
    others = {"trains": PARTS | {"embeddings": "new_rows", "heads": True}, "lr": 0.5, "prompts_per_step": 3}
    schedule = build_schedule(0, 4, True, {"a": PLAIN | {"num_steps": 1, "trains": PARTS}, "b": PLAIN | others})
    first, second = schedule.phases
    assert first.trains == TrainedParts(False, True, False, "none", False)
    assert (first.lr, first.prompts_per_step) == (None, None)
    assert second.trains.heads and second.trains.beyond_adapter == ("projector", "embeddings")
    assert (second.lr, second.prompts_per_step) == (0.5, 3)
    assert all(phase.trains is None for phase in released().phases)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trains": PARTS | {"projector": False}}, "phase a: trains: at least one part"),
        ({"trains": PARTS | {"head": True}}, "phase a: trains must be a mapping of vision, projector, language"),
        ({"trains": {"vision": True}}, "phase a: trains must be a mapping of vision, projector, language"),
        ({"trains": ["vision"]}, "phase a: trains must be a mapping of vision, projector, language"),
        ({"trains": PARTS | {"vision": "yes"}}, "phase a: trains.vision must be true or false"),
        ({"trains": PARTS | {"embeddings": "some"}}, "phase a: trains.embeddings must be all, new_rows or none"),
        ({"lr": 0.0}, "phase a: lr must be above 0"),
        ({"prompts_per_step": 0}, "phase a: prompts_per_step must be 1 or more"),
    ],
)
def test_impossible_phases_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        build_schedule(0, 1, True, {"a": PLAIN | {"num_steps": 1} | changed})


@pytest.mark.parametrize("own", [{"lr": 0.5}, {"trains": PARTS}])
def test_one_optimizer_trains_one_way(own):
    phases = {"a": PLAIN | {"num_steps": 1}, "b": PLAIN | {"num_steps": 1} | own}
    with pytest.raises(ValueError, match="each need an optimizer of their own"):
        build_schedule(0, 2, False, phases)
    alone = {"a": PLAIN | {"num_steps": 0}, "b": phases["b"]}  # a phase of no steps asks for nothing
    assert len(build_schedule(0, 1, False, alone).fits()) == 1


def test_all_phases_name_what_they_train_or_none_does():
    phases = {"a": PLAIN | {"num_steps": 1}, "b": PLAIN | {"num_steps": 1, "trains": PARTS}}
    with pytest.raises(ValueError, match="either every phase names what it trains"):
        build_schedule(0, 2, True, phases)


@pytest.mark.parametrize("step", [-1, 900, 10_000])
def test_steps_outside_are_refused(step):
    for ask in (released().locate, released().fit_at):
        with pytest.raises(ValueError, match="outside the schedule of steps 0 to 899"):
            ask(step)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.booleans())
def test_invariants(lengths, restart):
    schedule = PhaseSchedule(tuple(Phase(f"p{k}", n, "plain") for k, n in enumerate(lengths)), restart)
    assert schedule.total_steps == sum(lengths)
    fits = schedule.fits()
    # the fits cover every step once, in order, and each fit holds whole phases
    assert [fit.start_step for fit in fits] == [0, *[fit.end_step for fit in fits[:-1]]]
    assert fits[-1].end_step == schedule.total_steps
    assert sum((fit.phases for fit in fits), ()) == schedule.phases
    assert all(fit.num_steps == sum(phase.num_steps for phase in fit.phases) > 0 for fit in fits)
    assert len(fits) == (len(schedule.phases) if restart else 1)
    for step in range(schedule.total_steps):
        phase, step_in_phase = schedule.locate(step)
        assert schedule.start_of(phase.name) + step_in_phase == step
        assert 0 <= step_in_phase < phase.num_steps == lengths[phase.position]
        fit = schedule.fit_at(step)
        assert fit.start_step <= step < fit.end_step and phase in fit.phases
