"""A real W&B offline run of the tiny model, read back: every documented key, tables, pictures, best model, resume."""

import json
import math
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from museg.metrics.keys import COLD_START_COLUMNS, DASHBOARD_KEYS, columns
from museg.training.checkpoints import complete_checkpoints
from tests.walks import test_resume, tiny_runs
from tests.walks.wandb_records import fragments, history, of_kind

TERMS = ("format", "timestamp", "coverage", "local")
OVERRIDES = (
    "phase.steps=2",
    "phase.total_steps=4",
    "validation.every_steps=3",
    "validation.completions_every_steps=2",
    "checkpoint.every_steps=2",
    "objective.importance=truncate",  # else its key would not be measured
    "logger=wandb",
    "logger.wandb.offline=true",
)
ABOUT = ("logger.wandb.name=first", "logger.wandb.group=pilots", "logger.wandb.tags=[tiny,seed_0]")
TIMELINES = 2


@pytest.fixture(scope="module")
def run_dir(outputs, tmp_path_factory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("wandb_run")
    more = (f"logger.wandb.timelines={TIMELINES}", "logger.wandb.best_model=true")
    tiny_runs.train(tiny_runs.settings(outputs, *OVERRIDES, *ABOUT, *more), folder)
    return folder


@pytest.fixture(scope="module")
def file(run_dir) -> Path:
    [file] = fragments(run_dir)
    return file


@pytest.fixture(scope="module")
def logged(file) -> list[dict[str, Any]]:
    return history(file)


def top_level(row: dict[str, Any]) -> set[str]:
    """The keys of a row; a table and a list of pictures are one key each."""
    media = ("completions.", "timelines.")
    return {key.partition(".")[0] if key.startswith(media) else key for key in row if not key.startswith("_")}


def test_the_run_says_what_it_is(file, run_dir):
    [run] = of_kind(file, "run")
    assert (run["project"], run["display_name"], run["run_group"]) == ("museg", "first", "pilots")
    assert run["tags"] == ["tiny", "seed_0"]
    assert run["run_id"] == (run_dir / "wandb_id.txt").read_text()
    [told] = [entry["update"] for entry in of_kind(file, "config") if "phase" in entry["update"]]
    assert told["objective"]["importance"] == "truncate" and "logger" not in told
    assert [entry["exit_code"] for entry in of_kind(file, "exit")] == [0]


def test_every_documented_key_is_there_and_no_other(logged):
    keys = set().union(*map(top_level, logged))
    assert keys == {*columns(TERMS), *DASHBOARD_KEYS}


def as_logged(row: dict[str, str]) -> dict[str, float]:
    """The numbers that a row of metrics.csv stands for."""
    cells = {key: float(cell) for key, cell in row.items() if cell and key not in ("step", "phase", "kind")}
    if row["kind"] == "cold_start":
        supervised = {"cold_start/step": cells["cold_start_step"]}
        return supervised | {key: cells[column] for key, column in COLD_START_COLUMNS.items()}
    phase = {"phase": float(["timestamp", "plain"].index(row["phase"]))} if row["phase"] != "cold_start" else {}
    return {"step": float(row["step"])} | phase | cells


def numbers_of(row: dict[str, Any]) -> dict[str, float]:
    """The numbers that were logged; W&B writes what is no number as a word."""
    return {key: float(row[key]) for key in top_level(row) - {"completions", "timelines"}}


def assert_same(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert value == theirs[key] or (math.isnan(value) and math.isnan(theirs[key])), (key, value, theirs[key])


def without_timings(numbers: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in numbers.items() if not key.startswith("time/")}


def test_rows_are_those_of_the_run_log(logged, run_dir):
    rows = tiny_runs.rows(run_dir)
    assert [row["_step"] for row in logged] == list(range(len(rows)))
    for ours, theirs in zip(logged, rows, strict=True):
        assert_same(numbers_of(ours), as_logged(theirs))
    assert [row["phase"] for row in logged if "reward/total" in row] == [0, 0, 1, 1]


def test_our_step_is_the_axis(file):
    axes = {entry.get("name") or entry["glob_name"]: entry.get("step_metric") for entry in of_kind(file, "metric")}
    assert {axes[f"{family}/*"] for family in ("reward", "train", "loss", "data", "time", "held_out")} == {"step"}
    assert {axes[key] for key in ("phase", "completions", "timelines")} == {"step"}
    assert {axes[key] for key in COLD_START_COLUMNS} == {"cold_start/step"}


def contents(artifact: dict[str, Any]) -> dict[str, Path]:
    return {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}


def completions_of(run_dir: Path, step: int) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in (run_dir / "completions.jsonl").read_text().splitlines())
    return [line for line in lines if line["step"] == step]


def test_tables_hold_the_completions_with_timelines(file, run_dir):
    tables = [entry for entry in of_kind(file, "artifact") if entry["type"] == "run_table"]
    assert len(tables) == 2  # steps 1 and 3
    for artifact, step in zip(tables, (1, 3), strict=True):
        files, sampled = contents(artifact), completions_of(run_dir, step)
        table = json.loads(files["completions.table.json"].read_text())
        rows = [dict(zip(table["columns"], cells, strict=True)) for cells in table["data"]]
        assert [row["text"] for row in rows] == [line["text"] for line in sampled]
        assert [row["reward"] for row in rows] == [line["reward"] for line in sampled]
        assert [row["reward/local"] for row in rows] == [line["terms"]["local"] for line in sampled]
        assert rows[0]["targets"].endswith(" s") and rows[0]["query"] == sampled[0]["query"]
        drawn = list(dict.fromkeys(line["example_id"] for line in sampled))[:TIMELINES]
        assert all((row["timeline"] is not None) == (row["example_id"] in drawn) for row in rows)
        picture = rows[0]["timeline"]
        assert Image.open(files[picture["path"]]).size == (picture["width"], picture["height"])


def test_timelines_are_pictures_with_something_on_them(logged, file, run_dir):
    shown = [row for row in logged if "timelines.filenames" in row]
    assert [row["step"] for row in shown] == [1, 3]
    for row in shown:
        pictures = [Image.open(file.parent / "files" / name) for name in row["timelines.filenames"]]
        assert len(pictures) == TIMELINES and len({picture.size for picture in pictures}) == 1
        assert all(len(picture.convert("RGB").getcolors(1 << 20)) > 3 for picture in pictures)  # text, bars, ground
        asked = list(dict.fromkeys(line["query"] for line in completions_of(run_dir, row["step"])))
        assert row["timelines.captions"] == asked[:TIMELINES]


def test_the_best_model_is_an_artifact_that_loads(file, run_dir):
    [best] = [entry for entry in of_kind(file, "artifact") if entry["type"] == "model"]
    assert "best" in best["aliases"]
    files = contents(best)
    assert files["model.safetensors"] == run_dir / "best" / "model.safetensors"
    key = "held_out/greedy/mean_iou"
    scores = {int(row["step"]): float(row[key]) for row in tiny_runs.rows(run_dir, "validation")}
    first_best = max(scores, key=scores.__getitem__)  # of equal ones the first
    assert json.loads(files["best.json"].read_text()) == {"step": first_best, key: scores[first_best]}
    assert Qwen2_5_VLForConditionalGeneration.from_pretrained(run_dir / "best").num_parameters() > 0


def assert_whole(run_dir: Path) -> None:
    """All files together hold every row of the run log once, under one id; a row done twice differs in time only."""
    files, rows = [file for file in fragments(run_dir) if file.stat().st_size], tiny_runs.rows(run_dir)
    logged = [row for file in files for row in history(file)]
    assert [row["_step"] for row in logged] == list(range(len(rows)))
    for ours, theirs in zip(logged, rows, strict=True):
        assert_same(without_timings(numbers_of(ours)), without_timings(as_logged(theirs)))
    runs = [run for file in files for run in of_kind(file, "run")]
    assert {run["run_id"] for run in runs} == {(run_dir / "wandb_id.txt").read_text()}
    assert all(run["resume"] for run in runs)
    assert [row["step"] for row in logged if "timelines.filenames" in row] == [1, 3]


def train_alone_until_step(run_settings: dict[str, Any], run_dir: Path, step: int) -> None:
    """Train and die, with a W&B service of its own: that of the parent process would outlive it."""
    os.environ.pop("WANDB_SERVICE", None)
    test_resume.train_until_step(run_settings, run_dir, step)


def test_a_killed_run_goes_on_without_a_lost_row(outputs, tmp_path):
    folder = tmp_path / "killed"
    fresh = tiny_runs.settings(outputs, *OVERRIDES)
    killed = tiny_runs.exit_code_of(train_alone_until_step, fresh, folder, 3)
    assert killed == -signal.SIGKILL and len(fragments(folder)) == 1
    tiny_runs.train(fresh | {"resume": "auto"}, folder)
    assert len(fragments(folder)) == 2
    assert_whole(folder)


def test_what_a_torn_file_lost_is_told_again(run_dir, outputs, tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(run_dir, folder, symlinks=True)
    (folder / "summary.json").unlink()
    shutil.rmtree(complete_checkpoints(folder)[-1].folder)  # step 4; the file still knows of it
    [file] = fragments(folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    num_recorded = sum(int(row["step"]) <= 2 for row in tiny_runs.rows(run_dir))
    assert 0 < len(history(file)) < num_recorded
    tiny_runs.train(tiny_runs.settings(outputs, *OVERRIDES, "resume=auto"), folder)
    assert_whole(folder)
