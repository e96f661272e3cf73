"""Dashboards follow the run log of the first process, are closed whatever happens, and complain in all processes."""

import signal
from pathlib import Path

import pytest

from museg.training.mirrors import shown
from museg.training.run_log import LogRow, RunLog
from museg.training.stopping import Stopped
from tests.walks import process_pairs, tiny_runs
from tests.walks.wandb_records import fragments, history

COLUMNS = ["loss/total", "train/mean_iou"]


class Heard:
    """A dashboard that remembers what it was told, and whose end fails where that is wanted."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.before: list[LogRow] = []
        self.rows: list[tuple[int, LogRow]] = []
        self.ends: list[str] = []

    def catch_up(self, rows) -> None:
        self.before = list(rows)

    def add(self, number: int, row: LogRow) -> None:
        self.rows.append((number, row))

    def close(self, *, has_failed: bool) -> None:
        self._end("failed" if has_failed else "finished")

    def pause(self) -> None:
        self._end("paused")

    def _end(self, how: str) -> None:
        self.ends.append(how)
        if self.fails:
            raise OSError("no\nnetwork")


def test_a_dashboard_hears_of_recorded_rows_and_of_new_ones(tmp_path):
    sampled = {"step": 1, "text": "a", "terms": {"format": 1.0}}
    RunLog(tmp_path, COLUMNS).add(0, "start", "cold_start", {"loss/total": 0.1 + 0.2}, cold_start_step=25)
    RunLog(tmp_path, COLUMNS).add(1, "timestamp", "train", {"loss/total": 2.0}, completions=[sampled])
    log, heard = RunLog(tmp_path, COLUMNS), Heard()
    with shown(log, tmp_path, lambda folder: [heard]):
        log.add(1, "timestamp", "validation", {"train/mean_iou": 0.5})
    assert heard.before == [
        LogRow(0, "start", "cold_start", {"loss/total": 0.1 + 0.2}, 25, []),
        LogRow(1, "timestamp", "train", {"loss/total": 2.0}, None, [sampled]),
    ]
    assert heard.rows == [(2, LogRow(1, "timestamp", "validation", {"train/mean_iou": 0.5}))]
    assert heard.ends == ["finished"]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    ("error", "end"),
    [(RuntimeError("broken"), "failed"), (Stopped(signal.SIGUSR2), "paused"), (SystemExit(-1), "paused")],
)
def test_a_run_that_ends_early_says_how_to_all_it_opened(error, end, fails, tmp_path, capsys):
    """A stopped run waits for none of them: its job must be queued again first. What is raised stays the run's own."""
    heard = [Heard(fails=fails), Heard()]
    with (
        pytest.raises(type(error)) as caught,
        shown(RunLog(tmp_path, COLUMNS), tmp_path, lambda folder: heard),
    ):
        raise error
    assert caught.value is error
    assert [one.ends for one in heard] == [[end], [end]]
    told = "a dashboard lacks the end of this run (OSError: no network); metrics.csv has it\n"
    assert capsys.readouterr().err == (told if fails else "")


def test_a_dashboard_that_cannot_be_closed_costs_no_run_its_result(tmp_path, capsys):
    with shown(RunLog(tmp_path, COLUMNS), tmp_path, lambda folder: [Heard(fails=True)]):
        pass
    assert "OSError: no network" in capsys.readouterr().err


def log_as_pair(outputs: Path, folders: dict[str, Path]) -> None:
    """What a run of two processes does with its dashboards, once for each W&B project, and what came of it."""
    from torch import distributed

    from museg.config.job import build_job
    from museg.training import processes

    distributed.init_process_group("gloo")
    for project, folder in folders.items():
        wanted = ("logger=wandb", "logger.wandb.offline=true", f"logger.wandb.project={project}")
        log = RunLog(folder, COLUMNS) if processes.is_first() else None
        try:
            with shown(log, folder, build_job(tiny_runs.settings(outputs, *wanted)).make_dashboards):
                if log is not None:
                    log.add(1, "timestamp", "train", {"loss/total": 1.0})
        except ValueError as error:
            (folder / str(processes.rank())).write_text(str(error), encoding="utf-8")
    distributed.destroy_process_group()


@pytest.mark.distributed
def test_the_first_of_two_processes_logs_and_a_refused_setting_stops_both(outputs, tmp_path):
    folders = {"museg": tmp_path / "good", "a/b": tmp_path / "refused"}
    for folder in folders.values():
        folder.mkdir()
    assert process_pairs.exit_codes_of(log_as_pair, outputs, folders) == [0, 0]
    [file] = fragments(tmp_path / "good")
    assert [row["loss/total"] for row in history(file)] == [1.0]
    assert fragments(tmp_path / "refused") == []
    for rank in "01":
        assert not (tmp_path / "good" / rank).exists()
        message = (tmp_path / "refused" / rank).read_text(encoding="utf-8")
        assert "W&B did not start: Invalid project name 'a/b'" in message and "conf/logger/wandb.yaml" in message
