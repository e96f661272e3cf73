"""Dashboards follow the run log of the first process, are closed whatever happens, and complain in all processes."""

from pathlib import Path

import pytest

from museg.training.mirrors import shown
from museg.training.run_log import LogRow, RunLog
from tests.walks import process_pairs, tiny_runs
from tests.walks.wandb_records import fragments, history

COLUMNS = ["loss/total", "train/mean_iou"]


class Heard:
    """A dashboard that remembers what it was told."""

    def __init__(self) -> None:
        self.before: list[LogRow] = []
        self.rows: list[tuple[int, LogRow]] = []
        self.ends: list[bool] = []

    def catch_up(self, rows) -> None:
        self.before = list(rows)

    def add(self, number: int, row: LogRow) -> None:
        self.rows.append((number, row))

    def close(self, *, has_failed: bool) -> None:
        self.ends.append(has_failed)


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
    assert heard.ends == [False]


def test_a_failed_run_closes_what_was_opened(tmp_path):
    heard = Heard()
    with (
        pytest.raises(RuntimeError, match="broken"),
        shown(RunLog(tmp_path, COLUMNS), tmp_path, lambda folder: [heard]),
    ):
        raise RuntimeError("broken")
    assert heard.ends == [True]


def log_as_pair(outputs: Path, run_dir: Path, project: str, told: Path) -> None:
    """What a run of two processes does with its dashboards; each tells in a file how it ended."""
    from torch import distributed

    from museg.config.job import build_job
    from museg.training import processes

    distributed.init_process_group("gloo")
    settings = tiny_runs.settings(
        outputs, "logger=wandb", "logger.wandb.offline=true", f"logger.wandb.project={project}"
    )
    log = RunLog(run_dir, COLUMNS) if processes.is_first() else None
    try:
        with shown(log, run_dir, build_job(settings).make_dashboards):
            if log is not None:
                log.add(1, "timestamp", "train", {"loss/total": 1.0})
    except ValueError as error:
        (told / str(processes.rank())).write_text(str(error), encoding="utf-8")
    distributed.destroy_process_group()


@pytest.mark.distributed
def test_only_the_first_of_two_processes_logs(outputs, tmp_path):
    assert process_pairs.exit_codes_of(log_as_pair, outputs, tmp_path, "museg", tmp_path) == [0, 0]
    [file] = fragments(tmp_path)
    assert [row["loss/total"] for row in history(file)] == [1.0]
    assert not (tmp_path / "0").exists() and not (tmp_path / "1").exists()


@pytest.mark.distributed
def test_a_setting_that_wandb_refuses_stops_both_processes(outputs, tmp_path):
    assert process_pairs.exit_codes_of(log_as_pair, outputs, tmp_path, "a/b", tmp_path) == [0, 0]
    for rank in "01":
        message = (tmp_path / rank).read_text(encoding="utf-8")
        assert "W&B did not start: Invalid project name 'a/b'" in message and "conf/logger/wandb.yaml" in message
