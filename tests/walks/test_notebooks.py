"""Notebooks run from their first cell to their last on what the programs leave behind."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from museg.report.sweep_page import write_sweep_report
from tests.report.invented_sweep import NOW_S, write_invented_sweep

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = ROOT / "notebooks"


@pytest.fixture(scope="module")
def executed(tmp_path_factory) -> list:
    """The cells of the notebook after a run beside an invented sweep of seven members out of twelve."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    write_sweep_report(write_invented_sweep(root / "outputs/sweeps/invented/today", num_members=7), now_s=NOW_S)
    notebook = nbformat.read(NOTEBOOKS / "look_at_a_sweep.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(root / "notebooks")}})
    return client.execute(env=os.environ | {"PYTHONPATH": str(ROOT)}).cells


def shown(cells) -> str:
    """Every text that the cells show."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)


def test_it_shows_the_sweep(executed):
    text = shown(executed)
    assert "reward=maximum" in text and "not started" in text and "difference_low" in text
    pictures = [
        output for cell in executed for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 7


def test_the_papers_rows_stand_beside_those_of_the_sweep(executed):
    [cell] = [cell for cell in executed if "is_repeated_by" in cell.source]
    text = shown([cell])
    assert "Table 3" in text and "Figure 7" not in text  # the sweep varies the reward
    for words in ("global_only", "not known", "sampled mIoU, difference"):
        assert words in text
    assert "MUSEG-7B" in shown(executed)


def test_without_a_report_it_says_how_to_make_one(tmp_path, monkeypatch):
    notebook = nbformat.read(NOTEBOOKS / "look_at_a_sweep.ipynb", as_version=4)
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="no sweep has a report yet: python -m museg"):
        exec(first, {})


def test_notebooks_are_committed_without_results():
    for file in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(file, as_version=4)
        nbformat.validate(notebook)
        assert all(not cell.get("outputs") for cell in notebook.cells)
