"""Every table gives the same numbers alone, in a group of two processes, and inside Lightning's validation loop."""

import importlib
import json
import os
import pkgutil
from pathlib import Path

import pytest
import torch
import torch.distributed
from torch.utils.data import DataLoader

import museg.metrics
from museg.metrics.et_bench_table import EtBenchTable
from museg.metrics.sample_table import SampleTable
from tests.metrics.every_table import KINDS, NUM_SAMPLES, scored_alone
from tests.walks.process_pairs import exit_codes_of

ONE_SIDED = "one_sided"
INTERLEAVED = "interleaved"
SHARES = {
    INTERLEAVED: ([4, 0, 2], [1, 3, 0]),  # out of order, and sample 0 repeated as a padding sampler does
    ONE_SIDED: (list(range(NUM_SAMPLES)), []),  # fewer samples than processes
}


def validate_in_lightning(folder: Path, devices: int) -> dict[str, dict[str, float]]:
    """All kinds filled by a real validation loop, `devices` processes strong; its numbers by kind."""
    import lightning.pytorch as pl

    class Judge(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.tables = torch.nn.ModuleDict({name: kind.make() for name, kind in KINDS.items()})
            self.found: dict[str, dict[str, float]] = {}

        def validation_step(self, batch: torch.Tensor, batch_index: int) -> None:
            for position in batch.tolist():
                for name, kind in KINDS.items():
                    self.tables[name].update(position, *kind.updates[position])

        def on_validation_epoch_end(self) -> None:
            self.found = {name: self.tables[name].compute() for name in KINDS}

    judge = Judge()
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.validate(judge, DataLoader(range(NUM_SAMPLES), batch_size=2), verbose=False)
    return judge.found


def judge_as_rank(folder: str) -> None:
    """One of two processes: every kind with each way of sharing samples, then Lightning; numbers go to a file."""
    rank = int(os.environ["RANK"])
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    found = {}
    for way, shares in SHARES.items():
        found[way] = {}
        for name, kind in KINDS.items():
            table = kind.make()
            for position in shares[rank]:
                table.update(position, *kind.updates[position])
            found[way][name] = table.compute()
    found["lightning"] = validate_in_lightning(Path(folder), devices=2)
    (Path(folder) / f"{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def from_two_processes(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("pair")
    assert exit_codes_of(judge_as_rank, str(folder)) == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def from_lightning(tmp_path_factory) -> dict:
    return validate_in_lightning(tmp_path_factory.mktemp("alone"), devices=1)


def test_every_table_is_here():
    """A new kind of table must be listed among KINDS."""
    for module in pkgutil.iter_modules(museg.metrics.__path__, "museg.metrics."):
        importlib.import_module(module.name)

    def below(kind: type) -> set[type]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    in_package = {kind for kind in below(SampleTable) if kind.__module__.startswith("museg.")}
    assert in_package - {EtBenchTable} == {type(kind.make()) for kind in KINDS.values()}


@pytest.mark.parametrize("name", KINDS)
def test_the_samples_tell_tables_apart(name):
    found = scored_alone(name)
    assert any(value > 0 for key, value in found.items() if key not in ("Total", "Failed"))


@pytest.mark.distributed
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("way", [*SHARES, "lightning"])
def test_two_processes_are_as_one(way, name, from_two_processes):
    for found in from_two_processes:
        assert found[way][name] == pytest.approx(scored_alone(name), abs=0, nan_ok=True)


@pytest.mark.parametrize("name", KINDS)
def test_lightning_validates_as_alone(name, from_lightning):
    assert from_lightning[name] == pytest.approx(scored_alone(name), abs=0, nan_ok=True)
