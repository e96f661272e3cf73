"""The table of what fits where: which cells there are, what is bold, and what is refused."""

import pytest

from museg.commands import memory_table
from museg.commands.memory_table import cell, main, table, understood
from tests.config.options import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_rows_and_columns(monkeypatch):
    monkeypatch.setattr(memory_table, "MODELS", {"7B": "museg_7b"})
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(80, [1, 8]).splitlines()]
    assert rows[0] == ["model", "`trainer=`", "1 GPU", "8 GPUs"]
    cells = {trainer: figures for _, trainer, *figures in rows[2:]}
    # one GPU takes one process, and several trainers want several; float32 weights, gradients, moments and a reference
    # are 20 bytes of 8.29e9 numbers, 154 GiB
    assert cells["`single_gpu`"][1] == cells["`zero2`"][0] == "-"
    assert float(cells["`single_gpu`"][0]) > 154
    assert cells["`zero2`"][1].startswith("**")  # the default
    figure = {trainer: float(figures[1].strip("*")) for trainer, figures in cells.items() if figures[1] != "-"}
    assert figure["`fsdp`"] < figure["`zero2`"] < figure["`ddp`"]
    assert all((figure[trainer] <= 72) == cells[trainer][1].startswith("**") for trainer in figure)
    assert {trainer: [said[0], said[3]] for trainer, said in in_readme("7B").items()} == cells


def in_readme(model):
    """The rows of a model in README.md: trainer -> cells."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in README.splitlines()]
    return {row[1]: row[2:] for row in rows if row[0] == model and len(row) == 6}


def test_what_fits_depends_on_the_gpu():
    figure = cell(("experiment=museg_3b", "trainer=zero2"), 8, 80)
    assert figure == in_readme("3B")["`zero2`"][3]
    assert figure == f"**{cell(('experiment=museg_3b', 'trainer=zero2'), 8, 24)}**"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("capacity=40", "unknown argument 'capacity'; there are capacity_gib, devices. Did you mean capacity_gib?"),
        ("devices=two", "give numbers"),
        ("devices=0", "1 or more"),
    ],
)
def test_what_is_not_understood(word, message, capsys):
    assert main([word]) == 2
    assert message in capsys.readouterr().err


def test_defaults():
    assert understood([]) == (80.0, [1, 2, 4, 8])
