"""The comparison of methods as a sweep: five members of which one starts from another's model, and one table."""

import os
import subprocess
import sys

import pytest

from tests.walks import tiny_runs

pytestmark = pytest.mark.thorough


def test_every_way_finishes_and_stands_in_one_table(tmp_path):
    short = ("cold_start.max_steps=4", "cold_start.evaluate_every_steps=4", "phase.total_steps=2", "phase.steps=1")
    small = tiny_runs.small_overrides(tmp_path / "outputs", *short, "seed=0", f"hydra.sweep.dir={tmp_path}/sweep")
    done = subprocess.run(
        [sys.executable, str(tiny_runs.CONF.parent / "train.py"), "-m", "experiment=compare_methods", *small],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    folders = {
        folder.name.split("-")[1].removesuffix("_seed"): folder for folder in (tmp_path / "sweep").glob("[0-9]*")
    }
    assert set(folders) == {"supervised", "structure", "museg", "structure_first", "structure_then_museg"}
    assert "greedy mIoU" in done.stdout and "sampled" not in done.stdout.partition("| configuration")[2]
    # tokens of events come with MeCo's weights alone
    knows_events = {way: "<ent>" in (run / "exported" / "tokenizer.json").read_text() for way, run in folders.items()}
    assert {way for way, knows in knows_events.items() if knows} == {name for name in folders if "structure" in name}
    # one start for the first four: its cold start is made once
    starts = {way: (run / "cold_start.json").read_text() for way, run in folders.items()}
    assert len({starts[way] for way in folders if way != "structure_then_museg"}) == 1
    assert starts["structure_then_museg"] != starts["museg"]
