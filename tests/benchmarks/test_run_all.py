"""The script for one GPU, as far as a machine without one goes."""

from types import SimpleNamespace

import pytest
import torch

from tests.gpu import run_all


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_all.main([]) == 2
    assert "no CUDA GPU" in capsys.readouterr().err


@pytest.mark.parametrize(("tests_say", "is_right", "status"), [(0, True, 0), (1, True, 1), (0, False, 1)])
def test_it_measures_whatever_the_tests_say(monkeypatch, tests_say, is_right, status):
    asked = []

    def measured(options):
        asked.append(options)
        if not is_right:
            raise SystemExit("the device does not compute what it should: rollouts, greedy")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(run_all.subprocess, "run", lambda command, cwd: SimpleNamespace(returncode=tests_say))
    monkeypatch.setattr(run_all.gpu, "main", measured)
    assert run_all.main(["--minutes", "5"]) == status
    assert asked == [["--minutes", "5"]]
