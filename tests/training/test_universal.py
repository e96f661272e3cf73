"""What a fit reads that goes on from a checkpoint of DeepSpeed's. The conversion itself: tests/walks."""

import pickle
from pathlib import Path

import pytest
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy

from museg.training.checkpoints import Checkpoint
from museg.training.universal import readable


class Owned:
    """What a hostile checkpoint would run."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return (Path.touch, (self.file,))


def hostile(folder: Path, num_writers: int) -> Checkpoint:
    """A checkpoint that so many processes wrote, with code in it."""
    state = folder / "state.ckpt" / "checkpoint"
    state.mkdir(parents=True)
    for rank in range(num_writers):
        torch.save(Owned(folder / "owned"), state / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    return Checkpoint(folder, 1)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    checkpoint = hostile(tmp_path, num_writers=1)
    [file] = checkpoint.state_file.glob("*/*.pt")
    with readable(DeepSpeedStrategy(), checkpoint), pytest.raises(pickle.UnpicklingError, match="Weights only"):
        torch.load(file, weights_only=False)  # as DeepSpeed does
    assert not (tmp_path / "owned").exists()
    torch.load(file, weights_only=False)  # afterwards it is everyone's own choice again
    assert (tmp_path / "owned").exists()


def test_nor_is_it_in_the_conversion_for_another_number_of_processes(tmp_path):
    checkpoint = hostile(tmp_path, num_writers=2)
    with (
        pytest.raises(ValueError, match=r"on as many as wrote it.*UnpicklingError"),
        readable(DeepSpeedStrategy(), checkpoint),
    ):
        raise AssertionError("unreachable")
    assert not (tmp_path / "owned").exists()


def test_others_read_one_file():
    with readable("ddp", Checkpoint(Path("absent"), 1)), readable(DeepSpeedStrategy(), None):
        pass
