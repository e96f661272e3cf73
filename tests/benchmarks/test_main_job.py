"""The rows of the main job against its first version, from invented runs and a program that hands those out."""

import csv
import json
import shutil
import sys

import pytest

from tests.benchmarks import main_job, summary
from tests.report.invented_run import write_invented_run

STEPS = 4
PROGRAM = """
import json, shutil, sys
options = dict(argument.split("=", 1) for argument in sys.argv[1:])
shutil.copytree("invented", options["hydra.run.dir"])
json.dump(options, open(options["hydra.run.dir"] + "/options.json", "w"))
"""


def made_run(folder, *, cold_start_s, training_s, step_s, seed=3):
    """A finished run of four steps that took the given seconds; of a step rollouts take a quarter, updates half."""
    write_invented_run(folder, num_examples=2, phases=(("timestamp", 0, 2), ("plain", 2, STEPS)))
    about = json.loads((folder / "summary.json").read_text())
    timings_s = {"cold_start": cold_start_s, "training": training_s, "total": cold_start_s + training_s + 5}
    (folder / "summary.json").write_text(json.dumps(about | {"seed": seed, "timings_s": timings_s}))
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "train"]
    for row, second in zip(rows, step_s, strict=True):
        row |= {"time/step_s": second, "time/rollout_s": second / 4, "time/update_s": second / 2}
    end = dict.fromkeys(rows[0], "") | {"step": STEPS, "phase": "plain", "kind": "validation"}
    end |= {"held_out/greedy/mean_iou": 0.75, "held_out/sampled/mean_iou": 0.5}
    with (folder / "metrics.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows([*rows, end])
    return folder


@pytest.fixture
def pair(tmp_path):
    """(first, ours): 96 s and 304 s against 80 s and 120 s; median steps of 0.6 s and 0.3 s."""
    return (
        made_run(tmp_path / "first", cold_start_s=96.0, training_s=304.0, step_s=[0.4, 0.5, 0.7, 9.0]),
        made_run(tmp_path / "ours", cold_start_s=80.0, training_s=120.0, step_s=[0.2, 0.2, 0.4, 0.6]),
    )


def test_rows_of_runs_that_are_there(tmp_path, pair, capsys):
    out = tmp_path / "rows.json"
    main_job.main(["--found", *map(str, pair), "--out", str(out)])
    whole, step = json.loads(out.read_text())["rows"]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]] == [whole, step]
    assert whole["shape"] == step["shape"] == "seed 3, 4 steps"
    # 400 s against 200 s
    assert whole["sides"] == {"ours": {"seconds": [200.0]}, "first": {"seconds": [400.0]}}
    assert whole["ratio"] == {"ours": 1.0, "first": 2.0}
    assert whole["values"] == {
        **{"ours, cold_start_s": 80.0, "ours, training_s": 120.0, "ours, total_s": 205.0},
        **{"first, cold_start_s": 96.0, "first, training_s": 304.0, "first, total_s": 405.0},
        **{"ours, greedy_mean_iou": 0.75, "ours, sampled_mean_iou": 0.5},
        **{"first, greedy_mean_iou": 0.75, "first, sampled_mean_iou": 0.5},
    }
    assert step["sides"] == {"ours": {"seconds": [0.3]}, "first": {"seconds": [0.6]}}
    assert step["values"] == {
        **{"ours, rollout_s": 0.075, "ours, update_s": 0.15},
        **{"first, rollout_s": 0.15, "first, update_s": 0.3},
    }
    (line,) = summary.lines_of("main_job", whole)
    assert line[2:] == ("time, first", ">= 1.5", "2.00x", "2.00x to 2.00x")


def test_pairs_of_a_seed_are_rounds_and_other_seeds_other_rows(tmp_path, pair):
    again = made_run(tmp_path / "again", cold_start_s=50.0, training_s=50.0, step_s=[0.1] * 4)
    others = [made_run(tmp_path / f"seed_{n}", cold_start_s=0.0, training_s=n, step_s=[1] * 4, seed=8) for n in (6, 2)]
    found = [(*pair,), (pair[0], again), (*others,)]
    pairs = [{"first": main_job.read_run(first), "ours": main_job.read_run(ours)} for first, ours in found]
    rows = {(row["measure"], row["shape"]): row for row in main_job.rows_of(pairs, "abc")}
    assert len(rows) == 4
    # 400 s twice against 200 s and 100 s, whose median is 150 s
    both = rows["main job, whole", "seed 3, 4 steps"]
    assert (both["ratio"]["first"], both["spread"]["first"], both["first_commit"]) == (2.67, [2.0, 4.0], "abc")
    assert rows["main job, whole", "seed 8, 4 steps"]["ratio"]["first"] == 3.0


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda run: shutil.rmtree(run), "FileNotFoundError"),
        (lambda run: (run / "summary.json").unlink(), "FileNotFoundError"),
        (lambda run: (run / "metrics.csv").unlink(), "FileNotFoundError"),
        (lambda run: (run / "summary.json").write_text("{}"), "KeyError"),
        (lambda run: (run / "metrics.csv").write_text("step,kind\n1,train\n4,validation\n"), "has 1 steps of 4"),
    ],
)
def test_a_folder_of_no_finished_run_is_refused(tmp_path, pair, spoil, fault):
    spoil(pair[1])
    with pytest.raises(SystemExit, match=f"ours is not the folder of a finished run: .*{fault}"):
        main_job.main(["--found", *map(str, pair), "--out", str(tmp_path / "rows.json")])
    assert not (tmp_path / "rows.json").exists()


def test_runs_of_other_jobs_are_no_pair(tmp_path, pair):
    other = made_run(tmp_path / "other", cold_start_s=1.0, training_s=1.0, step_s=[1] * 4, seed=8)
    with pytest.raises(SystemExit, match=r"not of the same job: .*'seed 8, 4 steps', 'first': 'seed 3, 4 steps'"):
        main_job.main(["--found", str(pair[0]), str(other), "--out", str(tmp_path / "rows.json")])


@pytest.mark.skipif(sys.platform != "linux", reason="cores are chosen on Linux alone")
def test_both_versions_are_run_with_the_options_they_know(tmp_path, pair):
    trees = {"ours": tmp_path / "our_tree", "first": tmp_path / "first_tree"}
    for tree, run, video in ((trees["first"], pair[0], "{}"), (trees["ours"], pair[1], "frame_cache_dir: frames")):
        (tree / "conf/video").mkdir(parents=True)
        (tree / "conf/video/tiny.yaml").write_text(video)
        (tree / "train.py").write_text(PROGRAM)
        shutil.copytree(run, tree / "invented")
    folder = tmp_path / "runs"
    folder.mkdir()
    pairs = list(main_job.measured(trees, folder, [3], 2, ["dataset.root=clips"]))
    assert [(found["first"].whole_s, found["ours"].whole_s) for found in pairs] == [(400.0, 200.0)] * 2
    given = {file.parent.name: json.loads(file.read_text()) for file in folder.glob("*/options.json")}
    assert given["first_3_1"] == {
        "seed": "3",
        "hydra.run.dir": f"{folder}/first_3_1",
        "cold_start.cache_dir": f"{folder}/first_3_1_cold_start",
        "dataset.root": "clips",
    }
    assert given["ours_3_0"]["video.frame_cache_dir"] == f"{folder}/ours_3_0_frames"
    assert given.keys() == {"first_3_0", "first_3_1", "ours_3_0", "ours_3_1"}
