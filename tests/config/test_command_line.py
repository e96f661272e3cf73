import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import ConfigCompositionException

from museg.config.command_line import (
    TRAIN,
    checked_arguments,
    composed_jobs,
    named_by_what_is_swept,
    opened,
    resumed_folder,
)
from tests.config.options import CONF


def test_resuming_a_folder_makes_it_the_run_folder(tmp_path):
    (tmp_path / "config.yaml").write_text("name: tiny")
    assert resumed_folder(["seed=1", f"resume={tmp_path}"]) == [f"hydra.run.dir='{tmp_path}'"]
    assert resumed_folder(["resume=auto"]) == resumed_folder(["resume=null"]) == resumed_folder([]) == []


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run in this folder"):
        resumed_folder([f"resume={tmp_path}"])
    (tmp_path / "config.yaml").write_text("name: tiny")
    with pytest.raises(ValueError, match="already says where"):
        resumed_folder([f"resume={tmp_path}", "hydra.run.dir=elsewhere"])


def test_open_mappings_take_new_entries():
    assert opened("reward.weights.local=0.5") == "++reward.weights.local=0.5"
    assert opened("phase.phases.plain.rewards.local=false") == "++phase.phases.plain.rewards.local=false"
    assert opened("phase.steps=3") == "phase.steps=3"
    (config,) = composed_jobs([opened("reward.weights.local=0.5")], CONF, is_multirun=False)
    assert config.reward.weights == {"local": 0.5}


def test_members_are_named_by_what_is_swept():
    overrides = ["name=x", "reward=sequential,maximum", "+seed=range(3)", "phase.steps=3"]
    assert named_by_what_is_swept(overrides) == ["hydra.job.config.override_dirname.exclude_keys=[name,phase.steps]"]


def test_a_sweep_is_composed_member_by_member():
    jobs = composed_jobs(["reward=sequential,maximum", "phase.steps=20,40", "seed=5"], CONF, is_multirun=True)
    found = [(job.reward.terms.local._target_.rpartition(".")[2][:3], job.phase.steps, job.seed) for job in jobs]
    assert found == [("Seq", 20, 5), ("Seq", 40, 5), ("Max", 20, 5), ("Max", 40, 5)]


def test_a_recorded_sweep_needs_no_flag():
    jobs = list(composed_jobs(["experiment=ablate_phase_length", "seed=5"], CONF, is_multirun=False))
    assert [job.phase.steps for job in jobs] == [0, 200, 400, 600, 900] and jobs[0].name == "ablate_phase_length"


def test_what_a_recorded_sweep_varies_is_replaced_and_follows_the_length():
    overrides = ["experiment=ablate_matching", "reward=maximum,local_only", "phase.total_steps=180"]
    found = [(job.phase.steps, job.seed) for job in composed_jobs(overrides, CONF, is_multirun=True)]
    assert found == [(80, seed) for _ in ("maximum", "local_only") for seed in (0, 1, 2)]  # 4/9 of 180


def test_several_values_without_multirun_are_refused():
    with pytest.raises(ConfigCompositionException, match="--multirun"):
        list(composed_jobs(["reward=sequential,maximum"], CONF, is_multirun=False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "reward=sequential,maximun"], "Did you mean maximum?"),
        (["-m", "phase.steps=20,40,5000"], "phase.total_steps=900"),
        (["phase.."], "phase.."),
        (["resume=/absent"], "no run in this folder"),
        (["-m", "seed=0,1", "--cfg", "hydra"], "leave -m out"),
        (["-m", "seed=0,1", "hydra/launcher=slurm"], "pip install -e '.[slurm]'"),
    ],
)
def test_refuses_with_a_message_and_a_status(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr("museg.config.command_line.find_spec", lambda name: None)
    with pytest.raises(SystemExit) as caught:
        checked_arguments(arguments, CONF, TRAIN)
    assert caught.value.code == 1
    assert message in capsys.readouterr().err


def test_help_and_configuration_pass_without_checks(capsys):
    shared = "hydra.job.config.override_dirname.exclude_keys=[seed]"
    assert checked_arguments(["--cfg", "job", "seed=1"], CONF, TRAIN) == ["--cfg", "job", "seed=1", shared]
    assert checked_arguments(["seed=1", "--cfg", "job"], CONF, TRAIN) == ["seed=1", shared, "--cfg", "job"]
    assert checked_arguments(["rollout.num_generations=1", "--cfg", "job"], CONF, TRAIN)  # may be looked at
    assert checked_arguments([], CONF, TRAIN) == []
    with pytest.raises(SystemExit) as caught:
        checked_arguments(["--help"], CONF, TRAIN)
    assert caught.value.code == 0
    assert "sequential" in capsys.readouterr().out


def test_members_of_a_sweep_start_no_processes(monkeypatch):
    sweep = ["seed=0,1", "trainer.devices=2", "trainer.strategy=ddp"]
    with pytest.raises(ValueError, match=r"trainer\.devices=2 in a sweep.*torchrun"):
        list(composed_jobs(sweep, CONF, is_multirun=True))
    monkeypatch.setenv("WORLD_SIZE", "2")  # torchrun started them
    assert len(list(composed_jobs(sweep, CONF, is_multirun=True))) == 2


@pytest.mark.parametrize(
    ("overrides", "asked"),
    [
        ((), (1, 1, None)),  # nodes, processes and GPUs of each
        (("trainer=single_gpu",), (1, 1, 1)),
        (("trainer=ddp", "trainer.devices=8", "trainer.num_nodes=2"), (2, 8, 8)),
        (("trainer.strategy=ddp", "trainer.devices=2"), (1, 2, None)),
    ],
)
def test_a_slurm_job_gets_what_its_trainer_uses(overrides, asked):
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        launcher = compose(
            "train", overrides=["hydra/launcher=slurm", *overrides], return_hydra_config=True
        ).hydra.launcher
        assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == asked


def test_an_evaluation_on_slurm_is_one_process_on_one_gpu():
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        launcher = compose("evaluate", overrides=["hydra/launcher=slurm"], return_hydra_config=True).hydra.launcher
        assert (launcher.nodes, launcher.tasks_per_node, launcher.gpus_per_node) == (1, 1, 1)
        assert launcher.name == "app"  # Hydra's name of the program; it has no name of its own


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["trainer=ddp"], r"trainer\.devices=auto: SLURM must be asked for a number"),
        (["trainer.strategy=ddp", "trainer.devices=1,2"], "2 processes on 1 nodes, its job would have 1 on 1"),
        (["hydra.launcher.timeout_min=1h"], "Error merging override hydra.launcher.timeout_min=1h"),
        (["hydra.launcher.partion=gpu"], "Could not override 'hydra.launcher.partion'"),
    ],
)
def test_a_sweep_that_slurm_could_not_run_is_refused(overrides, message, monkeypatch):
    monkeypatch.setattr("museg.config.command_line.which", lambda command: command)
    with pytest.raises((ValueError, ConfigCompositionException), match=message):
        list(composed_jobs(["hydra/launcher=slurm", *overrides], CONF, is_multirun=True))


def test_a_started_process_may_be_told_the_resumed_folder_again(tmp_path):
    (tmp_path / "config.yaml").write_text("name: tiny")
    given = [f"resume={tmp_path}", f"hydra.run.dir='{tmp_path}'", f'hydra.run.dir="{tmp_path}"']
    assert resumed_folder(given) == [f"hydra.run.dir='{tmp_path}'"]


def test_a_single_run_does_not_go_to_slurm_without_a_word():
    with pytest.raises(ValueError, match="add -m"):
        list(composed_jobs(["hydra/launcher=slurm"], CONF, is_multirun=False))
    assert list(composed_jobs(["hydra/launcher=slurm"], CONF, is_multirun=False, is_shown=True))


def test_slurm_must_be_at_hand_to_start_a_sweep_and_not_to_look_at_one(monkeypatch):
    monkeypatch.setattr("museg.config.command_line.which", lambda command: None)
    sweep = ["seed=0,1", "hydra/launcher=slurm"]
    with pytest.raises(ValueError, match=r"sbatch and srun, which are not on PATH.*login node"):
        list(composed_jobs(sweep, CONF, is_multirun=True))
    assert len(list(composed_jobs(sweep, CONF, is_multirun=True, is_shown=True))) == 2


def test_jobs_are_named_by_their_runs_and_get_memory_for_each_process():
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        asked = compose("train", ["hydra/launcher=slurm", "name=pilot"], return_hydra_config=True).hydra.launcher
        assert (asked.name, asked.mem_per_cpu, asked.mem_gb, asked.cpus_per_task) == ("pilot", "8G", None, 8)
