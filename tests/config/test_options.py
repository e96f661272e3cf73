"""Every file of conf/ composes, is valid, fits the signature of what it names, and is built where this machine can."""

import re
from copy import deepcopy
from functools import cache
from importlib.util import find_spec
from inspect import signature

import pytest

from museg.config.command_line import composed_jobs, opened
from museg.config.job import build_job
from museg.config.overview import first_sentence
from museg.config.validation import InvalidConfiguration, checked_settings
from museg.policy.sizes import meta_model
from museg.targets import TARGET, build, find_targets, locate
from tests.config.options import ALL_OPTIONS, CONF, OPTIONS, compose, jobs_of

GPU_PACKAGES = {"experiment/museg_3b", "experiment/museg_7b", "trainer/zero2", "trainer/zero3"}
"""Options that need DeepSpeed, which is not part of the basic installation."""


@cache
def settings_of(option, *overrides):
    """Checked settings of an option's first configuration; without DeepSpeed here, that must be the only complaint."""
    config = jobs_of(option, *overrides)[0]
    if option in GPU_PACKAGES and find_spec("deepspeed") is None:
        with pytest.raises(InvalidConfiguration) as caught:
            checked_settings(config)
        assert [violation.place for violation in caught.value.violations] == ["trainer.strategy"]
        config = deepcopy(config)
        config.trainer.strategy = "auto"
    return checked_settings(config)


def test_all_files_are_found():
    assert {"reward/sequential", "experiment/museg_3b", "hydra/launcher/slurm"} <= set(OPTIONS)


@pytest.mark.parametrize("option", ALL_OPTIONS)
def test_opens_with_a_sentence_and_a_command_that_composes(option, monkeypatch):
    monkeypatch.setattr("museg.config.command_line.find_spec", lambda name: True)  # as if every launcher were here
    file = CONF / f"{option}.yaml"
    assert len(first_sentence(file)) > 20
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    program, arguments = re.fullmatch(r"# python (train|evaluate)\.py (.+)", lines[1]).groups()
    overrides = [opened(argument) for argument in arguments.split() if argument != "-m"]
    group, _, name = option.rpartition("/")
    named = re.compile(rf"({group}(@[\w.]+)?={name}|{group.replace('/', '.')}\.|experiment=)")
    assert any(named.match(text) for text in overrides)
    assert next(composed_jobs(overrides, CONF, program, is_multirun="-m" in arguments.split()))


@pytest.mark.parametrize("option", OPTIONS)
def test_composes_and_is_valid(option):
    settings_of(option)
    for config in jobs_of(option)[1:]:
        checked_settings(config)


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.startswith("hydra/")])
def test_targets_take_their_arguments(option):
    settings = settings_of(option)
    for place, target in find_targets(settings):
        node = settings
        for key in place.split("."):
            node = node[key]
        arguments = {key: value for key, value in node.items() if key != TARGET}
        if place == "method":  # policy, job and what trains beside the policy are there only in a run
            taken = signature(locate(target))
            beside = {"heads": "heads"} if "heads" in taken.parameters else {}
            taken.bind("policy", "job", **beside, **arguments)
        else:
            only_while_running = {"save_dir": "run folder"} if place.startswith("logger.") else {}
            only_while_running |= {"config": settings, "draw": len} if place == "logger.wandb" else {}
            signature(locate(target)).bind(**arguments, **only_while_running)


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.startswith("hydra/")])
def test_makes_a_job(option):
    job = build_job(settings_of(option))
    assert job.schedule.total_steps >= 1
    assert {phase.prompt for phase in job.schedule.phases} <= set(job.wordings)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith("model/")])
def test_builds_the_model(option):
    model = settings_of(option)["model"]
    if model[TARGET].endswith("build_tiny"):
        assert sum(p.numel() for p in build(model).model.parameters()) < 2_000_000
    else:
        # billions of weights as the names say: 3B has 3.75e9 and 7B 8.29e9 with the vision tower
        low, high = {"3B": (3.5e9, 4e9), "7B": (8e9, 8.6e9)}[model["path"].split("-")[-2]]
        assert low < sum(p.numel() for p in meta_model(model["path"]).parameters()) < high


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.startswith("dataset/")])
def test_builds_the_data(option, tmp_path):
    small = ["num_train_clips=3", "num_held_out_clips=2", f"root={tmp_path}"] if "/synthetic" in option else []
    data = build(settings_of(option, *(f"dataset.{setting}" for setting in small))["dataset"])
    assert all(data.files) and data.held_out


@pytest.mark.parametrize("option", ["logger/wandb", "logger/tensorboard"])
def test_builds_the_loggers(option, tmp_path):
    (dashboard,) = build_job(settings_of(option)).make_dashboards(tmp_path)
    assert str(dashboard.save_dir).startswith(str(tmp_path))
    dashboard.close(has_failed=False)


def test_only_whole_weights_are_sampled_by_recordings():
    assert build_job(settings_of("trainer/ddp")).rollout.cuda_graphs
    assert not build_job(settings_of("trainer/fsdp")).rollout.cuda_graphs


def test_two_loggers_at_once():
    assert set(checked_settings(compose("logger=[wandb,tensorboard]"))["logger"]) == {"wandb", "tensorboard"}
    assert checked_settings(compose())["logger"] == {}


@pytest.mark.parametrize(("trainer", "devices"), [("single_gpu", 1), ("fsdp", 7)])
def test_a_recipe_runs_on_as_many_gpus_as_its_trainer_is_for(trainer, devices):
    assert compose("experiment=museg_3b", f"trainer={trainer}").trainer.devices == devices


@pytest.mark.parametrize("size", ["3b", "7b"])
def test_released_hyper_parameters(size):
    settings = settings_of(f"experiment/museg_{size}")
    assert settings["prompts_per_step"] == 14
    assert (settings["rollout"]["num_generations"], settings["rollout"]["temperature"]) == (8, 0.9)
    optimizer = settings["optimizer"]
    assert (optimizer["lr"], optimizer["warmup_steps"], optimizer["final_fraction"]) == (1.5e-6, 0, 0.0)
    assert optimizer["shape"] == "linear" and optimizer["betas"] == [0.9, 0.999]
    assert (optimizer["weight_decay"], optimizer["max_grad_norm"]) == (0.0, 1.0)
    assert settings["objective"]["beta"] == 0.04
    assert not any(settings["model"]["frozen"].values())
    assert settings["model"]["gradient_checkpointing"] and settings["model"]["dtype"] == "float32"
    budget = settings["video"]["budget"]
    assert (budget["max_frames"], budget["total_pixels"]) == (448, 2_809_856)
    phase = settings["phase"]
    assert (phase["steps"], phase["total_steps"], phase["restart"]) == (400, 900, True)
    assert not settings["cold_start"]["enabled"]
    assert settings["model"]["path"].lower() == f"qwen/qwen2.5-vl-{size}-instruct"
