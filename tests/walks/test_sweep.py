"""A sweep from the command line: four runs that share clips and cold start, a failing member, reports of both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from museg.report.sweep_page import write_sweep_report
from tests.report.parsed_page import Page
from tests.walks import sweep_numbers, tiny_runs
from tests.walks.wandb_records import fragments, of_kind

SHORT_COLD_START = ("cold_start.max_steps=4", "cold_start.evaluate_every_steps=4", "cold_start.batch_size=8")


def sweep(folder: Path, *overrides: str) -> subprocess.CompletedProcess:
    """`python train.py -m <overrides>` at small size with everything it writes below `folder`."""
    small = tiny_runs.small_overrides(folder / "outputs", *SHORT_COLD_START, f"hydra.sweep.dir={folder}/sweep")
    return subprocess.run(
        [sys.executable, str(tiny_runs.CONF.parent / "train.py"), "-m", *small, *overrides],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("finished")
    return folder, sweep(folder, "reward=sequential,maximum", "phase.steps=2,4", "phase.total_steps=6")


def members(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "sweep").iterdir() if path.name[0].isdigit())


def test_four_runs_finish(finished):
    folder, done = finished
    assert done.returncode == 0, done.stderr
    trained = []
    for run_dir in members(folder):
        config = (run_dir / "config.yaml").read_text()
        local = "maximum" if "museg.rewards.maximum" in config else "sequential"
        summary = json.loads((run_dir / "summary.json").read_text())
        assert list(summary["held_out"]) == ["cold_start", "timestamp", "plain"]
        assert summary["phases"][-1]["end_step"] == 6
        assert (run_dir / "report.html").stat().st_size > 0
        trained.append((local, summary["phases"][0]["end_step"]))
    assert sorted(trained) == [("maximum", 2), ("maximum", 4), ("sequential", 2), ("sequential", 4)]


def test_folders_can_be_given_back_on_the_command_line(finished):
    folder, _ = finished
    names = [run_dir.name for run_dir in members(folder)]
    assert not {"=", ",", " "} & set("".join(names))
    assert [name.partition("_")[0] for name in names] == ["0", "1", "2", "3"]
    assert "maximum" in names[-1] and "4" in names[-1]  # what is swept is told, what is shared is not
    assert all("num_generations" not in name for name in names)


def test_clips_and_cold_start_are_made_once(finished):
    folder, _ = finished
    assert len(list((folder / "outputs" / "data").iterdir())) == 1
    [shared] = (folder / "outputs" / "cold_start").iterdir()
    assert (shared / "model.safetensors").exists()
    starts = {(run_dir / "reference/timestamp/reference.safetensors").read_bytes() for run_dir in members(folder)}
    assert len(starts) == 1


def test_nothing_is_written_beside(finished):
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == {"outputs", "sweep"}


def test_its_report_has_the_numbers_of_its_members(finished):
    folder, _ = finished
    page = Page(write_sweep_report(folder / "sweep").html.read_text(encoding="utf-8"))
    assert "4 of 4 members finished." in page.text
    scores = map(sweep_numbers.summarised, members(folder))
    order = [("sequential", "2"), ("sequential", "4"), ("maximum", "2"), ("maximum", "4")]
    assert sweep_numbers.reported(folder / "sweep", "reward", "phase.steps") == dict(zip(order, scores, strict=True))


@pytest.fixture(scope="module")
def half_failed(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    folder = tmp_path_factory.mktemp("half_failed")
    steps = ("phase.steps=1", "phase.total_steps=2", "logger=wandb", "logger.wandb.timelines=0")
    return folder, sweep(folder, "cold_start.target_mean_iou=0.99,0", *steps)


def test_a_failing_member_leaves_the_others_running(half_failed):
    folder, done = half_failed
    assert done.returncode != 0
    failed, finished = members(folder)
    assert "the cold start gave up after 4 supervised steps" in done.stderr
    assert not (failed / "summary.json").exists()
    assert list(json.loads((finished / "summary.json").read_text())["held_out"]) == ["cold_start", "timestamp", "plain"]
    report = write_sweep_report(folder / "sweep")
    page = Page(report.html.read_text(encoding="utf-8"))
    assert "1 of 2 members finished." in page.text and "1 failed" in page.text
    assert "the cold start gave up after 4 supervised steps" in page.text


def test_members_stand_together_in_wandb_under_their_own_names(half_failed):
    folder, _ = half_failed
    files = [file for member in members(folder) for file in fragments(member)]
    runs = [run for file in files for run in of_kind(file, "run")]
    assert [run["run_group"] for run in runs] == ["tiny_sweep", "tiny_sweep"]  # the names of the runs and of the folder
    assert [run["display_name"] for run in runs] == [member.name for member in members(folder)]
    assert len({run["run_id"] for run in runs}) == 2
    assert [exit["exit_code"] for file in files for exit in of_kind(file, "exit")] == [1, 0]
