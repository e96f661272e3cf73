"""Which checkpoints count as complete, and which settings a resumed run may change."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from museg.error_files import FolderTaken
from museg.training.checkpoints import (
    ONLY_DATA,
    changed_settings,
    complete_checkpoints,
    only_data,
    open_run_folder,
    record_config,
    write_checkpoint,
)


def save_weights(path):
    torch.save({"state_dict": {"w": torch.ones(2)}}, path)


def steps(run_dir):
    return [checkpoint.global_step for checkpoint in complete_checkpoints(run_dir)]


def test_the_newest_are_kept(tmp_path):
    for step in (5, 10, 100):
        write_checkpoint(tmp_path, step, save_weights, keep=2)
    assert steps(tmp_path) == [10, 100]
    assert complete_checkpoints(tmp_path)[-1].weights()["w"].tolist() == [1, 1]


def test_a_write_that_dies_half_way_leaves_the_older_checkpoint(tmp_path):
    write_checkpoint(tmp_path, 5, save_weights, keep=1)

    def die_half_way(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 10, die_half_way, keep=1)
    assert steps(tmp_path) == [5]
    write_checkpoint(tmp_path, 10, save_weights, keep=1)
    assert steps(tmp_path) == [10]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step_000010"]


def test_a_checkpoint_is_data(tmp_path):
    class Code:
        def __reduce__(self):
            return (print, ("ran code from a checkpoint",))

    checkpoint = write_checkpoint(tmp_path, 1, lambda path: torch.save({"state_dict": Code()}, path), keep=1)
    with pytest.raises(Exception, match=r"(?i)weights.only"):
        checkpoint.weights()


def test_the_difference_is_named():
    old = {"seed": 0, "phase": {"steps": 400}, "logger": {}}
    new = {"seed": 1, "phase": {"steps": 400, "extra": True}, "logger": {"wandb": {"project": "x"}}}
    assert changed_settings(old, new) == {"seed": (0, 1), "phase.extra": (None, True)}


def test_other_settings_are_refused(tmp_path):
    record_config(tmp_path, {"seed": 0, "video": {"num_workers": 1}})
    record_config(tmp_path, {"seed": 0, "video": {"num_workers": 4}})
    with pytest.raises(ValueError, match="seed: 0 there, 1 now"):
        record_config(tmp_path, {"seed": 1, "video": {"num_workers": 1}})


def test_what_only_rounds_otherwise_is_told(tmp_path, capsys):
    record_config(tmp_path, {"seed": 0, "trainer": {"devices": 2, "precision": "32-true"}})
    record_config(tmp_path, {"seed": 0, "trainer": {"devices": 4, "precision": "32-true"}})
    assert capsys.readouterr().out.endswith("rounded otherwise: trainer.devices: 2 there, 4 now\n")
    with pytest.raises(ValueError, match="'bf16-true' now") as caught:
        record_config(tmp_path, {"seed": 0, "trainer": {"devices": 4, "precision": "bf16-true"}})
    assert "devices" not in str(caught.value)


def test_a_run_may_be_profiled_from_where_it_is_resumed(tmp_path):
    record_config(tmp_path, {"seed": 0})  # as a run began before there was such a key
    record_config(tmp_path, {"seed": 0, "profile": True})
    assert changed_settings({"profile": False}, {"profile": True}) == {}


def test_of_runs_that_begin_in_a_folder_at_once_one_gets_on(tmp_path):
    at_once = threading.Barrier(8)

    def outcome(seed: int) -> str:
        at_once.wait()
        try:
            open_run_folder(tmp_path, {"seed": seed}, None)
        except ValueError as refused:
            return str(refused)
        return f"seed: {seed}\n"

    with ThreadPoolExecutor(8) as threads:
        outcomes = set(threads.map(outcome, range(8)))
    begun = {told for told in outcomes if told.startswith("seed")}
    assert begun == {(tmp_path / "config.yaml").read_text()}
    assert all("another" in told for told in outcomes - begun)


def test_of_two_runs_that_find_a_folder_free_the_later_one_is_refused(tmp_path, monkeypatch):
    def other_begins(*_, **__):
        (tmp_path / "config.yaml").write_text("of the other")
        return "mine"

    monkeypatch.setattr("yaml.safe_dump", other_begins)
    with pytest.raises(FolderTaken, match="another run has just begun"):
        open_run_folder(tmp_path, {"seed": 0}, None)
    assert (tmp_path / "config.yaml").read_text() == "of the other"


@pytest.mark.parametrize("before", [None, "0"])
def test_what_torch_was_told_of_code_is_told_again(before, monkeypatch):
    for module, name in (
        ("fp16.loss_scaler", "LossScaler"),
        ("zero.config", "ZeroStageEnum"),
        ("utils.tensor_fragment", "fragment_address"),
    ):
        path = f"deepspeed.{module}" if "utils" in module else f"deepspeed.runtime.{module}"
        monkeypatch.setitem(sys.modules, path, SimpleNamespace(**{name: type(name, (), {})}))
    monkeypatch.setattr(os, "environ", {} if before is None else {ONLY_DATA: before})
    told = dict(os.environ)
    with pytest.raises(KeyError), only_data():
        assert os.environ == {ONLY_DATA: "1"}
        raise KeyError
    assert os.environ == told


def test_rules_of_a_run_folder(tmp_path):
    run_dir = tmp_path / "run"
    with pytest.raises(ValueError, match="no run folder"):
        open_run_folder(run_dir, {"seed": 0}, str(run_dir))
    assert not (run_dir / "error.txt").exists()
    open_run_folder(run_dir, {"seed": 0}, "auto")
    (run_dir / "error.txt").write_text("of an earlier attempt")
    with pytest.raises(FolderTaken, match="resume=auto"):
        open_run_folder(run_dir, {"seed": 0}, None)
    with pytest.raises(FolderTaken, match="seed: 0 there, 1 now"):
        open_run_folder(run_dir, {"seed": 1}, "auto")
    assert (run_dir / "error.txt").exists()
    open_run_folder(run_dir, {"seed": 0}, str(run_dir))
    assert not (run_dir / "error.txt").exists()
