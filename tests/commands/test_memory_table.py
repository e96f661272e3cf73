"""The table of what fits where: which cells there are, what is bold, and what is refused."""

import pytest

from museg.commands.memory_table import cell, main, table, understood


def test_rows_and_columns():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table(80, [1, 8]).splitlines()]
    assert rows[0] == ["model", "`trainer=`", "1 GPU", "8 GPUs"]
    cells = {(model, trainer): figures for model, trainer, *figures in rows[2:]}
    assert {model for model, _ in cells} == {"3B", "7B"}
    # one GPU takes one process, and several trainers want several; float32 weights, gradients, moments and a reference
    # of 3B are 20 bytes of 3.75e9 numbers, 70 GiB, and those of 7B 154
    assert cells["3B", "`single_gpu`"][1] == cells["3B", "`zero2`"][0] == "-"
    assert float(cells["3B", "`single_gpu`"][0]) > 70 and float(cells["7B", "`single_gpu`"][0]) > 154
    # 7B under ZeRO-2 on eight is the default
    assert cells["7B", "`zero2`"][1].startswith("**")
    figure = {key: float(figures[1].strip("*")) for key, figures in cells.items() if figures[1] != "-"}
    assert figure["7B", "`fsdp`"] < figure["7B", "`zero2`"] < figure["7B", "`ddp`"]
    assert all((figure[key] <= 72) == cells[key][1].startswith("**") for key in figure)


def test_what_fits_depends_on_the_gpu():
    figure = cell(("experiment=museg_3b", "trainer=zero2"), 8, 80)
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
