"""The run log across a kill and a resume."""

import json

from museg.training.run_log import RunLog

COLUMNS = ["loss/total", "train/mean_iou"]


def test_rows_are_wide_with_empty_cells(tmp_path):
    log = RunLog(tmp_path, COLUMNS)
    log.add(1, "timestamp", "train", {"loss/total": 0.5})
    [row] = log.rows()
    assert row == {
        "step": "1",
        "phase": "timestamp",
        "kind": "train",
        "cold_start_step": "",
        "loss/total": "0.5",
        "train/mean_iou": "",
    }


def test_numbers_survive_exactly(tmp_path):
    log = RunLog(tmp_path, COLUMNS)
    log.add(1, "p", "train", {"loss/total": 0.1 + 0.2})
    assert float(log.rows()[0]["loss/total"]) == 0.1 + 0.2


def test_forgetting_drops_later_rows_and_a_torn_line(tmp_path):
    log = RunLog(tmp_path, COLUMNS)
    for step in (1, 2, 3):
        log.add(step, "p", "train", {"loss/total": step})
        log.add_completions([{"step": step, "text": 'a "quoted"\nline'}])
    with log.metrics_file.open("a") as file:
        file.write("4,p,tr")  # killed while writing
    with log.completions_file.open("a") as file:
        file.write('{"step": 4, "te')
    RunLog(tmp_path, COLUMNS).forget_after(2)
    assert [row["step"] for row in log.rows()] == ["1", "2"]
    assert [json.loads(line)["step"] for line in log.completions_file.read_text().splitlines()] == [1, 2]


def test_an_existing_log_is_continued(tmp_path):
    RunLog(tmp_path, COLUMNS).add(1, "p", "train", {})
    RunLog(tmp_path, COLUMNS).add(2, "p", "train", {})
    assert [row["step"] for row in RunLog(tmp_path, COLUMNS).rows()] == ["1", "2"]
