"""DeepSpeed's checkpoints for another number of processes than wrote them, through DeepSpeed's universal format."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import DeepSpeedStrategy

from museg.training import processes
from museg.training.checkpoints import DEEPSPEED_FOLDER, Checkpoint

UNIVERSAL_FOLDER = "universal"


def use_universal_checkpoint(strategy: Any, checkpoint: Checkpoint) -> None:
    """Let `strategy`, where it is DeepSpeed's, read what another number of processes wrote.

    Nothing is to be done for others: their checkpoints are one file. This has not been run on GPUs.
    """
    if not isinstance(strategy, DeepSpeedStrategy) or num_writers(checkpoint) == processes.world_size():
        return
    processes.on_first(lambda: make_universal(checkpoint.state_file))
    strategy.config["checkpoint"] = {"load_universal": True}


def num_writers(checkpoint: Checkpoint) -> int:
    """How many processes wrote a checkpoint of DeepSpeed's."""
    return len(list((checkpoint.state_file / DEEPSPEED_FOLDER).glob("*_optim_states.pt")))


def make_universal(state: Path) -> None:
    """Convert by DeepSpeed's own program, beside the original. Raises ValueError with what it says where it fails."""
    folders = ("--input_folder", str(state / DEEPSPEED_FOLDER), "--output_folder", str(state / UNIVERSAL_FOLDER))
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", *folders, "--inject_missing_state"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(
            f"DeepSpeed cannot convert {state} for another number of processes: resume it on as many as wrote it. It "
            f"says: {done.stderr.strip()[-500:]}"
        )
