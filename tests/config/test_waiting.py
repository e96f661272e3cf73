"""Starting after another run."""

import threading

import pytest

from museg.config.waiting import wait_until_finished


def test_a_finished_run_is_not_waited_for(tmp_path, capsys):
    (tmp_path / "summary.json").touch()
    wait_until_finished(tmp_path)
    assert not capsys.readouterr().out


def test_one_that_has_not_begun_is_waited_for_and_named_once(tmp_path, capsys):
    run_dir = tmp_path / "run"
    waiting = threading.Thread(target=wait_until_finished, args=(run_dir, 0.01))
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    run_dir.mkdir()
    waiting.join(0.1)
    assert waiting.is_alive()
    (run_dir / "summary.json").touch()
    waiting.join(10)
    assert not waiting.is_alive()
    assert capsys.readouterr().out == f"waiting for {run_dir}, from which this run starts\n"


def test_one_that_failed_or_can_never_be_is_not_waited_for(tmp_path):
    (tmp_path / "error.txt").write_text("no clip can be read")
    with pytest.raises(ValueError, match=r"that run failed \(.*error\.txt says why\)"):
        wait_until_finished(tmp_path)
    with pytest.raises(ValueError, match="no run can be there"):
        wait_until_finished(tmp_path / "nowhere" / "run")
