"""Jobs of a real SLURM cluster: one is warned, a pair pre-empted, and both go on; one fails and one is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from museg.training.checkpoints import complete_checkpoints
from tests.walks import process_pairs, slurm_cluster, sweep_numbers, test_resume, tiny_runs

pytestmark = pytest.mark.cluster

STEPS = ("phase.total_steps=30", "checkpoint.every_steps=100", "validation.every_steps=100")
PAIR = (*process_pairs.TRAINER, "reward=sequential", "prompts_per_step=3", "phase.steps=12", "phase.total_steps=30")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> dict[str, str]:
    with slurm_cluster.running(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def num_steps(run_dir: Path) -> int:
    """Steps that a run has logged; none before it has a log."""
    return len(tiny_runs.rows(run_dir, "train")) if (run_dir / "metrics.csv").exists() else 0


def preempt(sweep: slurm_cluster.Sweep, number: int, after_steps: int) -> Path:
    """Signal a member in the middle of its training, as SLURM does before it takes the node away."""
    run_dir = sweep.member(number)
    slurm_cluster.until(lambda: num_steps(run_dir) >= after_steps, f"step {after_steps} in {run_dir}", sweep)
    sweep.send(number, signal.SIGUSR2)
    return run_dir


def settings_of(run_dir: Path) -> dict:
    """The settings that a member recorded, for a run of its own."""
    return yaml.safe_load((run_dir / "config.yaml").read_text()) | {"resume": None}


def assert_learned(run_dir: Path) -> None:
    assert any(float(row["loss/grad_norm"]) > 0 for row in tiny_runs.rows(run_dir, "train"))


def test_a_preempted_member_goes_on_as_if_nothing_had_happened(cluster, outputs, tmp_path):
    rewards = ("sequential", "maximum")
    small = tiny_runs.small_overrides(outputs, *STEPS, f"reward={','.join(rewards)}", "seed=0")
    straight = tmp_path / "straight"
    with slurm_cluster.sweep_of(cluster, tmp_path / "sweep", "experiment=ablate_matching", *small) as sweep:
        run_dir = preempt(sweep, 1, after_steps=5)
        assert tiny_runs.exit_code_of(tiny_runs.train, settings_of(run_dir), straight) == 0
        assert sweep.wait() == 0, sweep.text
    log = (run_dir / "slurm.log").read_text()
    assert sweep.restarts(1) == 1
    assert log.count("Starting with JobEnvironment") == log.count("Calling checkpoint method.") + 1 == 2
    assert "Stopping after this step" in log
    assert [row["step"] for row in tiny_runs.rows(run_dir, "train")] == [str(step) for step in range(1, 31)]
    test_resume.assert_same_run(run_dir, straight)
    assert_learned(run_dir)

    members = sorted(path.name for path in sweep.folder.iterdir() if path.is_dir() and path.name != ".submitit")
    assert members == [f"{number}_reward-{reward}" for number, reward in enumerate(rewards)]
    assert sweep.restarts(0) == 0
    assert "sacct" not in sweep.text
    assert (sweep.folder / ".submitit").stat().st_mode & 0o077 == 0  # pickles: nobody else may write them

    report = [sys.executable, "-m", "museg.commands.report", f"sweep={sweep.folder}"]
    done = subprocess.run(report, cwd=slurm_cluster.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 members finished." in (sweep.folder / "sweep.html").read_text()
    measured = {(reward,): sweep_numbers.summarised(sweep.member(number)) for number, reward in enumerate(rewards)}
    assert sweep_numbers.reported(sweep.folder, "reward") == measured


def test_what_fails_is_told_at_the_end_and_stops_nothing_else(cluster, outputs, tmp_path):
    """The first member gives up in its cold start, the second goes on until it is killed without a word."""
    short = ("cold_start.max_steps=4", "cold_start.evaluate_every_steps=4", "cold_start.batch_size=8")
    small = tiny_runs.small_overrides(outputs, *short, "phase.steps=1", "phase.total_steps=5000")
    with slurm_cluster.sweep_of(cluster, tmp_path / "sweep", *small, "cold_start.target_mean_iou=0.99,0") as sweep:
        failed, killed = sweep.member(0), sweep.member(1)
        slurm_cluster.until(lambda: (failed / "error.txt").exists(), "error", sweep)
        steps = num_steps(killed)
        slurm_cluster.until(lambda: num_steps(killed) > steps + 2, "further steps", sweep)
        sweep.send(1, signal.SIGKILL)
        assert sweep.wait() == 1
    told = sweep.text.partition("2 of the sweep's members failed:\n")[2]
    assert told == (
        f"{failed}\n"
        "  ColdStartFailed: the cold start gave up after 4 supervised steps: held-out mean IoU 0.000 had not reached "
        "0.99 when the steps were used up. Reinforcement sharpens answers that are sometimes right and cannot start "
        "from here. Raise cold_start.max_steps, lower cold_start.target_mean_iou, or try another seed.\n"
        f"  where it arose: {failed}/error.txt\n"
        f"  log: {failed}/slurm.log\n"
        f"{killed}\n"
        "  ended without a result (FAILED): killed, cancelled, out of memory or out of time\n"
        f"  log: {killed}/slurm.log\n"
        f"go on by the same command with: resume=auto hydra.sweep.dir={sweep.folder}\n"
    )
    assert "the cold start gave up" in (failed / "slurm.log").read_text()
    assert not (failed / "summary.json").exists() and (failed / "report.html").exists()


def test_a_pair_of_processes_makes_room_for_an_urgent_job_and_goes_on(cluster, outputs, tmp_path):
    """SLURM warns by SIGTERM, soon kills the job and queues it again; the warning makes the only checkpoint."""
    small, straight = tiny_runs.small_overrides(outputs, *STEPS[1:], *PAIR), tmp_path / "straight"
    with slurm_cluster.sweep_of(cluster, tmp_path / "sweep", *small, "seed=0") as sweep:
        run_dir = sweep.member(0)
        slurm_cluster.until(lambda: num_steps(run_dir) >= 5, f"step 5 in {run_dir}", sweep)
        sweep.pre_empt(0, lambda: complete_checkpoints(run_dir))
        assert process_pairs.exit_codes_of(tiny_runs.train, settings_of(run_dir), straight) == [0, 0]
        assert sweep.wait() == 0, sweep.text
    before, _, after = (run_dir / "slurm.log").read_text().rpartition("Starting with JobEnvironment")
    assert sweep.restarts(0) == 1 and "Calling checkpoint method." not in before
    assert " 0/30" in before and " 0/30" not in after
    test_resume.assert_same_run(run_dir, straight)
    assert_learned(run_dir)
