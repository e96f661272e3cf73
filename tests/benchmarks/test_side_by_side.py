"""Programs beside each other run where and as they should; a version of old is there as long as it is needed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.main_job import FIRST, ROOT
from tests.benchmarks.side_by_side import Command, has_commit, own_cores, run_round, worktree
from tests.shared import unavailable

TELLS = """
import json, os, time
found = {"cores": sorted(os.sched_getaffinity(0)), "threads": os.environ["OMP_NUM_THREADS"], "began_s": time.time()}
import told
print(json.dumps(found | {"from": told.__file__, "here": os.getcwd(), "ended_s": time.time()}))
"""
MEETS = """
import pathlib, time
pathlib.Path("began").touch()
until_s = time.time() + 60
while len(list(pathlib.Path("..").glob("*/began"))) < 2:
    assert time.time() < until_s, "alone"
"""


def made_command(folder: Path, name: str, text: str = TELLS) -> Command:
    tree = folder / name
    tree.mkdir(exist_ok=True)
    (tree / "told.py").touch()
    return Command(tree, ["-c", text], folder / f"{name}.log")


def told(folder, cores, turn, text=TELLS):
    """Side -> what its program said."""
    folder.mkdir(exist_ok=True)
    commands = {name: made_command(folder, name, text) for name in ("ours", "first")}
    run_round(commands, cores, turn)
    return {name: json.loads(command.log.read_text()) for name, command in commands.items()}


@pytest.mark.skipif(sys.platform != "linux" or len(own_cores()) < 2, reason="needs two cores that can be chosen")
def test_two_cores_are_used_at_once_and_changed_in_the_next_round(tmp_path):
    cores = own_cores()[:2]
    for turn, (ours, first) in enumerate((cores, cores[::-1])):
        found = told(tmp_path / str(turn), cores, turn, MEETS + TELLS)
        assert (found["ours"]["cores"], found["first"]["cores"]) == ([ours], [first])


def test_one_core_is_used_in_turns(tmp_path):
    for turn, order in enumerate((("ours", "first"), ("first", "ours"))):
        found = told(tmp_path, own_cores()[:1], turn)
        assert found[order[0]]["ended_s"] < found[order[1]]["began_s"]


def test_a_program_has_its_own_modules_and_one_thread(tmp_path):
    for name, found in told(tmp_path, own_cores(), 0).items():
        tree = tmp_path / name
        assert (found["from"], found["here"], found["threads"]) == (str(tree / "told.py"), str(tree), "1")


def test_a_failed_program_ends_the_other(tmp_path):
    commands = {
        "ours": made_command(tmp_path, "ours", "import time; time.sleep(300); print('done')"),
        "first": made_command(tmp_path, "first", "raise ValueError('no such option')"),
    }
    with pytest.raises(SystemExit, match=r"(?s)first ended with exit code 1:.*no such option"):
        run_round(commands, own_cores() * 2, 0)
    assert commands["ours"].log.read_text() == ""


def test_the_first_version_is_there_for_a_while(tmp_path):
    if not has_commit(ROOT, FIRST):
        unavailable(f"the history here does not reach back to {FIRST}: a shallow clone, or no clone")
    with worktree(ROOT, FIRST, tmp_path / "first") as tree:
        assert (tree / "train.py").exists() and not (tree / "evaluate.py").exists()
    assert not tree.exists()
    assert str(tree) not in subprocess.check_output(["git", "worktree", "list"], cwd=ROOT, text=True)


def test_a_missing_commit_is_told(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    with (
        pytest.raises(SystemExit, match=r"commit 78c214e is not in the history of .*shallow clone"),
        worktree(tmp_path, FIRST, tmp_path / "first"),
    ):
        pass
