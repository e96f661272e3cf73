import json

import pytest

from museg.report.run_folder import read_run
from museg.report.tables import best_rows, stage_tables


def test_every_key_of_the_summary_has_a_column(copy_of_run):
    run_dir = copy_of_run()
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    summary["held_out"]["plain"]["a_new_score"] = 4.5
    (run_dir / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    tables, source = stage_tables(read_run(run_dir))
    assert source == "summary.json"
    assert [table.mode for table in tables] == ["greedy", "sampled"]
    assert {column.name for column in tables[0].columns} == set(summary["held_out"]["plain"]) - {"sampled"}
    assert [stage for stage, _ in tables[0].rows] == ["cold start", "timestamp", "plain"]
    new = [column.name for column in tables[0].columns].index("a_new_score")
    assert [cells[new].text for _, cells in tables[0].rows] == ["–", "–", "4.50"]


def test_differences_are_to_the_first_row(tmp_path):
    held_out = {name: {"mean_iou": value} for name, value in (("start", 0.5), ("a", 0.62), ("b", 0.45))}
    (tmp_path / "summary.json").write_text(json.dumps({"held_out": held_out}), encoding="utf-8")
    [table], _ = stage_tables(read_run(tmp_path))
    cells = [row[0] for _, row in table.rows]
    assert [(cell.text, cell.change, cell.is_best) for cell in cells] == [
        ("0.500", "", False),
        ("0.620", "+0.120", True),
        ("0.450", "−0.050", False),
    ]


def test_thresholds_share_a_heading(finished_run):
    tables, _ = stage_tables(read_run(finished_run))
    groups = {group: [column.label for column in columns] for group, columns in tables[0].groups if group}
    assert groups == {"F1 at IoU": ["0.1", "0.3", "0.5", "0.7"], "recall at IoU": ["0.1", "0.3", "0.5", "0.7"]}


@pytest.mark.parametrize(
    ("name", "values", "best"),
    [
        ("mean_iou", [0.5, 0.7, 0.6], {1}),
        ("f1@0.5", [0.7, 0.7004, 0.6], {0, 1}),  # the same to the three decimals shown
        ("mean_iou", [0.5, 0.5], set()),  # no contest
        ("mean_iou", [None, 0.5, 0.4], {1}),
        ("num_predicted_segments", [2.5, 1.8, 1.4], {1}),  # true count 2.0: off by 0.5, 0.2, 0.6
        ("completion_tokens", [20.0, 30.0], set()),  # neither long nor short is better
    ],
)
def test_best_rows(name, values, best):
    assert best_rows(name, values, [2.0] * len(values)) == best


def test_without_final_scores_the_log_has_to_do(copy_of_run):
    run_dir = copy_of_run()
    (run_dir / "summary.json").unlink()
    tables, source = stage_tables(read_run(run_dir))
    assert "last validation of each stage" in source
    assert [stage for stage, _ in tables[0].rows] == ["cold start", "timestamp", "plain"]
