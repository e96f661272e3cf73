"""Two processes train one run: as one process would, with every file written once, and stopped or resumed together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.walks import process_pairs, test_resume, test_unreadable_clips, tiny_runs
from tests.walks.process_pairs import TRAINER

pytestmark = [pytest.mark.distributed, pytest.mark.thorough]

SHORT = (
    "phase.steps=2",
    "phase.total_steps=4",
    "checkpoint.every_steps=3",
    "validation.every_steps=2",
    "validation.completions_every_steps=1",
    "validation.num_examples=7",
    "validation.batch_size=4",
    "optimizer.warmup_steps=0",
    "optimizer.eps=1e-4",  # Adam divides by the gradient's size; where that is rounding noise, so would be the step
    "seed=1",  # with seed 0 and this cold start the rounding of a sum decides a sampled token
)


def train_alone(outputs: Path, run_dir: Path, *overrides: str) -> Path:
    tiny_runs.train(tiny_runs.settings(outputs, *SHORT, *overrides), run_dir)
    return run_dir


def train_as_pair(outputs: Path, run_dir: Path, *overrides: str) -> Path:
    together = tiny_runs.settings(outputs, *SHORT, *TRAINER, *overrides)
    assert process_pairs.exit_codes_of(tiny_runs.train, together, run_dir) == [0, 0]
    return run_dir


def records(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def files_of(run_dir: Path) -> list[str]:
    return sorted(str(path.relative_to(run_dir)) for path in run_dir.rglob("*"))


def weights_of(run_dir: Path) -> dict:
    return load_file(run_dir / "exported" / "model.safetensors")


def assert_close_rows(ours: list[dict], theirs: list[dict]) -> None:
    assert [row.keys() for row in ours] == [row.keys() for row in theirs]
    for our, their in zip(ours, theirs, strict=True):
        for key, cell in our.items():
            try:
                expected = pytest.approx(float(their[key]), abs=1e-5, rel=1e-5)
                assert float(cell) == expected, (our["step"], our["kind"], key)
            except ValueError:  # no number, or not measured
                assert cell == their[key], (our["step"], our["kind"], key)


def _without_later_samples(row: dict) -> dict:
    return {key: cell for key, cell in row.items() if row["step"] == "0" or not key.startswith("held_out/sampled")}


def assert_same_training(pair: Path, alone: Path) -> None:
    ours, theirs = weights_of(pair), weights_of(alone)
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        assert float((weight - theirs[name]).abs().max()) < 1e-5, name
    # weights that differ by a rounding may draw another token, so held-out samples are compared before the first step
    rows, theirs = ([_without_later_samples(row) for row in tiny_runs.without_timings(run)] for run in (pair, alone))
    assert_close_rows(rows, theirs)
    assert files_of(pair) == files_of(alone)  # nothing is missing, and nothing left over


@pytest.mark.parametrize(
    "overrides",
    [
        ("prompts_per_step=3", "trainer.micro_batch_prompts=1", "objective.averaging=token"),  # two passes and one
        ("prompts_per_step=3", "trainer.micro_batch_prompts=1", "method=sft"),
        ("prompts_per_step=3", "trainer.micro_batch_prompts=1", "model.lora.rank=4"),
    ],
    ids=["uneven_micro_batches", "supervised", "adapter"],
)
def test_two_processes_train_as_one(overrides, outputs, tmp_path):
    alone = train_alone(outputs, tmp_path / "alone", *overrides)
    pair = train_as_pair(outputs, tmp_path / "pair", *overrides)
    assert_same_training(pair, alone)
    steps = [row["train/learning_rate"] for row in tiny_runs.rows(pair, "train")]
    assert len(steps) == 4 and all(float(rate) > 1e-5 for rate in steps)  # more than the tolerance above
    for stage in ("cold_start", "timestamp", "plain"):
        ours, theirs = (records(run_dir / "predictions" / f"{stage}.jsonl") for run_dir in (pair, alone))
        assert [(r["example_id"], r["mode"]) for r in ours] == [(r["example_id"], r["mode"]) for r in theirs]
        assert [r for r in ours if r["mode"] == "greedy"] == [r for r in theirs if r["mode"] == "greedy"]
    assert records(pair / "predictions" / "cold_start.jsonl") == records(alone / "predictions" / "cold_start.jsonl")
    if "method=sft" not in overrides:
        assert records(pair / "completions.jsonl") == records(alone / "completions.jsonl")


def test_a_cold_start_of_two_processes_is_one_cold_start(outputs, tmp_path):
    short = ("cold_start.max_steps=4", "cold_start.evaluate_every_steps=2", "cold_start.batch_size=3")
    steps = ("phase.steps=0", "phase.total_steps=1", "cold_start.target_mean_iou=0", "prompts_per_step=3")
    curves = []
    for train in (train_alone, train_as_pair):
        kept = f"cold_start.cache_dir={tmp_path}/{train.__name__}_kept"
        run_dir = train(outputs, tmp_path / train.__name__, *short, *steps, kept)
        assert len(list((tmp_path / f"{train.__name__}_kept").iterdir())) == 1
        curves.append(json.loads((run_dir / "cold_start.json").read_text())["curve"])
    assert [point["step"] for point in curves[1]] == [2]
    assert curves[1][0]["loss"] == pytest.approx(curves[0][0]["loss"], abs=1e-4)


def test_a_process_without_a_readable_clip_takes_part(outputs, tmp_path):
    """Two prompts a step, half of the clips unreadable: either process is left without any, or both are."""
    folder = tmp_path / "clips"
    (folder / "videos").mkdir(parents=True)
    for number in range(5):
        clip = folder / "videos" / f"good_{number}.mp4"
        test_unreadable_clips.made_files.numbered_mp4(clip, num_frames=10 + 2 * number, fps=2)
    names = [f"good_{number}.mp4" for number in range(4)] + [f"broken_{number}.mp4" for number in range(6)]
    for name in names[4:]:
        (folder / "videos" / name).write_text("This is no video.")
    test_unreadable_clips.write_annotations(folder / "train.jsonl", names)
    test_unreadable_clips.write_annotations(folder / "held_out.jsonl", ["absent.mp4", "good_4.mp4"])
    shared = ("cold_start=none", "prompts_per_step=2", "phase.steps=5", "phase.total_steps=10", *SHORT[2:])
    runs = []
    for trainer in ((), TRAINER):
        run_dir = tmp_path / f"run_{len(trainer)}"
        settings = test_unreadable_clips.settings(folder, *shared, *trainer)
        if trainer:
            assert process_pairs.exit_codes_of(tiny_runs.train, settings, run_dir) == [0, 0]
        else:
            tiny_runs.train(settings, run_dir)
        runs.append(run_dir)
    alone, pair = runs
    counts = [float(row["data/num_prompts"]) for row in tiny_runs.rows(pair, "train")]
    assert {0.0, 1.0} <= set(counts) and len(counts) == 10, counts
    assert_same_training(pair, alone)
    ours, theirs = (test_unreadable_clips.quarantined(run_dir) for run_dir in (pair, alone))
    assert ours == theirs
    assert len((pair / "quarantine.jsonl").read_text().splitlines()) == len(ours)


RESUMED = (*test_resume.OVERRIDES, *TRAINER, "prompts_per_step=3", "validation.num_examples=7")


@pytest.fixture(scope="module")
def straight(outputs) -> Path:
    """The pair that nothing happens to."""
    run_dir = outputs / "straight_pair"
    fresh = tiny_runs.settings(outputs, *RESUMED)
    assert process_pairs.exit_codes_of(tiny_runs.train, fresh, run_dir) == [0, 0]
    return run_dir


@pytest.mark.parametrize(("kill", "step"), [("train_until_step", 3), ("train_until_boundary", 4)])
def test_a_killed_pair_resumes_exactly(kill, step, straight, outputs, tmp_path):
    run_dir, fresh = tmp_path / "killed", tiny_runs.settings(outputs, *RESUMED)
    codes = process_pairs.exit_codes_of(getattr(test_resume, kill), fresh, run_dir, step)
    assert codes == [-signal.SIGKILL] * 2
    resumed = tiny_runs.settings(outputs, *RESUMED, "resume=auto")
    assert process_pairs.exit_codes_of(tiny_runs.train, resumed, run_dir) == [0, 0]
    test_resume.assert_same_run(run_dir, straight)


def train_until_one_is_asked(run_settings: dict, run_dir: Path, step: int) -> None:
    """Train, and let the second process alone be asked to stop in the middle of a step."""
    if os.environ["RANK"] == "1":
        test_resume.train_until_signal(run_settings, run_dir, step)
    else:
        test_resume.train_until_signal(run_settings, run_dir, -1)


def test_a_signal_to_one_process_stops_both_at_the_same_step(straight, outputs, tmp_path):
    run_dir, fresh = tmp_path / "asked", tiny_runs.settings(outputs, *RESUMED)
    codes = process_pairs.exit_codes_of(train_until_one_is_asked, fresh, run_dir, 2)
    assert codes == [128 + signal.SIGTERM] * 2
    assert [row["step"] for row in tiny_runs.rows(run_dir, "train")] == ["1", "2", "3"]
    assert sorted(path.name for path in (run_dir / "checkpoints").iterdir()) == ["step_000002", "step_000003"]
    resumed = tiny_runs.settings(outputs, *RESUMED, f"resume={run_dir}")
    assert process_pairs.exit_codes_of(tiny_runs.train, resumed, run_dir) == [0, 0]
    test_resume.assert_same_run(run_dir, straight)


def train_with_a_broken_loss(run_settings: dict, run_dir: Path, told: Path) -> None:
    """Train, with advantages that are no numbers in the second process; write down what is raised."""
    from museg.training.guarded_update import NonFiniteStep
    from museg.training.museg_module import MusegModule

    advantages = MusegModule.advantages
    if os.environ["RANK"] == "1":
        MusegModule.advantages = lambda self, scores: advantages(self, scores) * float("nan")
    try:
        tiny_runs.train(run_settings, run_dir)
    except NonFiniteStep as error:
        (told / os.environ["RANK"]).write_text(str(error))


def test_a_loss_that_is_not_finite_in_one_process_stops_both(outputs, tmp_path):
    fresh = tiny_runs.settings(outputs, *RESUMED)
    process_pairs.exit_codes_of(train_with_a_broken_loss, fresh, tmp_path / "run", tmp_path)
    told = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert told[0] == told[1] and "the loss is not finite at step 0" in told[0]
    assert told[0].count("train:") == 3  # the examples of both


def refuse_to_train(run_settings: dict, run_dir: Path, told: Path) -> None:
    """Train where that is not allowed, from a folder of this process' own; write down what is raised."""
    rank = os.environ["RANK"]
    own = run_dir if rank == "0" else run_dir.with_name("made_for_the_second")
    own.mkdir(exist_ok=True)
    try:
        tiny_runs.train(run_settings, own)
    except ValueError as error:
        (told / rank).write_text(str(error))


def test_what_the_first_process_refuses_all_refuse(straight, outputs, tmp_path):
    process_pairs.exit_codes_of(refuse_to_train, tiny_runs.settings(outputs, *RESUMED), straight, tmp_path)
    told = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert told[0] == told[1] and f"{straight} already holds a run" in told[0]
    assert not straight.with_name("made_for_the_second").exists()  # its empty folder is not left behind


def test_processes_that_know_nothing_of_each_other_are_refused(outputs, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"2 processes were started.*trainer=ddp"):
        tiny_runs.train(tiny_runs.settings(outputs), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def run_command(*command: str, cwd: Path) -> str:
    """What a command of a user prints; it must succeed."""
    done = subprocess.run([sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_train_py_starts_both_processes_and_torchrun_continues(outputs, tmp_path):
    """The second command finds nothing left to train; it must still meet, in the folder it is given."""
    train_py = str(Path(__file__).resolve().parents[2] / "train.py")
    overrides = tiny_runs.small_overrides(outputs, *SHORT, *TRAINER, "prompts_per_step=3", "name=both")
    printed = run_command(train_py, *overrides, cwd=tmp_path)
    [run_dir] = (tmp_path / "outputs" / "both").iterdir()  # the second process made none of its own
    assert printed.count("report: ") == 1 and str(run_dir) in printed
    assert [row["step"] for row in tiny_runs.rows(run_dir, "train")] == ["1", "2", "3", "4"]
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={process_pairs.free_port()}")
    printed = run_command(*torchrun, train_py, f"resume={run_dir}", cwd=tmp_path)
    assert printed.count("report: ") == 1 and len(tiny_runs.rows(run_dir, "train")) == 4
    assert [path.name for path in (tmp_path / "outputs").rglob("summary.json")] == ["summary.json"]
