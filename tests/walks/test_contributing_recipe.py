"""CONTRIBUTING's way to add a reward, followed to the letter in a copy of the clone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "outputs", "__pycache__", ".*_cache", ".hypothesis", "wandb")

FILE = re.compile(r"^`([\w/.]+)`\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def recipe():
    """The files of the section "Adding a reward" (path -> text), and its commands."""
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding a reward\n")[2]
    (commands,) = COMMANDS.findall(section)
    return dict(FILE.findall(section)), commands.strip().splitlines()


def in_clone(command, clone):
    """Run one shell command in `clone`, with this interpreter's programs first; the clone's own museg is imported."""
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": programs, "PYTHONPATH": str(clone)}
    return subprocess.run(
        command, cwd=clone, env=environment, shell=True, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_reward_is_one_class_one_yaml_and_one_test(tmp_path):
    files, commands = recipe()
    assert sorted(path.partition("/")[0] for path in files) == ["conf", "museg", "tests"]
    clone = tmp_path / "clone"
    shutil.copytree(ROOT, clone, ignore=NOT_COPIED)
    for path, text in files.items():
        assert not (clone / path).exists()
        (clone / path).write_text(text, encoding="utf-8")

    for command in commands:
        done = in_clone(command, clone)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    # the last command prints the configuration: the released terms and the new one, with the overridden value
    terms = yaml.safe_load(done.stdout)["reward"]["terms"]
    assert list(terms) == ["format", "timestamp", "coverage", "local", "segment_count"]
    assert terms["segment_count"]["bonus"] == 0.25

    # no edit elsewhere, and yet its keys and types are checked, and it is offered
    refused = in_clone("python train.py reward=segment_count reward.terms.segment_count.bonus=much", clone)
    assert refused.returncode == 1 and "converted to Float" in refused.stderr
    assert "segment_count" in in_clone("python train.py --help", clone).stdout
    style = in_clone(f"ruff check {' '.join(path for path in files if path.endswith('.py'))}", clone)
    assert style.returncode == 0, style.stdout
