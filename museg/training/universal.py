"""DeepSpeed's checkpoints for another number of processes than wrote them, through DeepSpeed's universal format."""

import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import DeepSpeedStrategy

from museg.training import processes
from museg.training.checkpoints import DEEPSPEED_FOLDER, Checkpoint, only_data, quietly

UNIVERSAL_FOLDER, UNIVERSAL_POINTER = "universal", "latest_universal"


@contextmanager
def readable(strategy: Any, checkpoint: Checkpoint | None) -> Iterator[None]:
    """Surrounds a fit that goes on from `checkpoint`: DeepSpeed reads it as data, and whatever number wrote it.

    Nothing is to be done for other strategies: their checkpoints are one file. This has not been run on GPUs.
    """
    if checkpoint is None or not isinstance(strategy, DeepSpeedStrategy):
        yield
        return
    with only_data():
        if num_writers(checkpoint) != processes.world_size():
            processes.on_first(lambda: make_universal(checkpoint.state_file))
            strategy.config["checkpoint"] = {"load_universal": True}
        try:
            yield
        finally:
            if processes.is_first():
                remove_universal(checkpoint.state_file)


def num_writers(checkpoint: Checkpoint) -> int:
    """How many processes wrote a checkpoint of DeepSpeed's."""
    return len(list((checkpoint.state_file / DEEPSPEED_FOLDER).glob("*_optim_states.pt")))


def make_universal(state: Path) -> None:
    """Convert by DeepSpeed's own program, beside the original. Raises ValueError with what it says where it fails.

    It runs in this process alone: others would not know that they are to read nothing but data.
    """
    from deepspeed.checkpoint import ds_to_universal  # not installed where it is not used

    remove_universal(state)
    asked = Namespace(
        input_folder=str(state / DEEPSPEED_FOLDER),
        output_folder=str(state / UNIVERSAL_FOLDER),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    try:
        with quietly():
            ds_to_universal.main(asked)
    except Exception as error:
        raise ValueError(
            f"DeepSpeed cannot convert {state} for another number of processes: resume it on as many as wrote it. It "
            f"says: {type(error).__name__}: {error}"
        ) from error


def remove_universal(state: Path) -> None:
    """Remove what was converted, which is as large as the checkpoint itself."""
    shutil.rmtree(state / UNIVERSAL_FOLDER, ignore_errors=True)
    (state / UNIVERSAL_POINTER).unlink(missing_ok=True)
