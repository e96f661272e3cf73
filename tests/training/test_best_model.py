"""Which model is kept as the best one, also over a resume."""

import json

import pytest

from museg.training.best_model import BEST_KEY, BestModel
from museg.training.run_log import RunLog


@pytest.fixture
def kept(tmp_path):
    """A function that offers the models of these steps and scores, and returns the step of the one in the folder."""
    log = RunLog(tmp_path, [BEST_KEY])

    def step_of_best(*offers: tuple[int, float]) -> int:
        best = BestModel(tmp_path, log, lambda folder: (folder.mkdir(), (folder / "weights").write_text(str(step))))
        for step, score in offers:
            log.add(step, "plain", "validation", {BEST_KEY: score})
            best.offer(step, score)
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["best"]
        record = json.loads((tmp_path / "best" / "best.json").read_text())
        assert (tmp_path / "best" / "weights").read_text() == str(record["step"])
        return record["step"]

    return step_of_best


def test_the_highest_score_is_kept_and_of_equal_ones_the_first(kept):
    assert kept((0, 0.2), (100, 0.7), (200, 0.5), (300, 0.7)) == 100


def test_a_score_that_is_no_number_is_never_the_best(kept):
    assert kept((0, 0.2), (100, float("nan"))) == 0


def test_a_resumed_run_knows_what_it_has_to_beat(kept):
    assert kept((0, 0.2), (100, 0.7)) == 100
    assert kept((200, 0.6)) == 100
    assert kept((300, 0.8)) == 300


def test_a_folder_that_a_kill_left_half_written_is_in_nobodys_way(kept, tmp_path):
    (tmp_path / ".best").mkdir()
    (tmp_path / ".best" / "half").touch()
    assert kept((0, 0.2)) == 0
    assert not (tmp_path / "best" / "half").exists()
