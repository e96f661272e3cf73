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
