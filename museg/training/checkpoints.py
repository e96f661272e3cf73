"""Checkpoints that survive a kill at any moment, and the rule for what may be resumed."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

from museg.error_files import FolderTaken, forget_errors
from museg.files import write_new
from museg.training import processes

COMPLETE = re.compile(r"step_(\d{6,})")
STATE_FILE = "state.ckpt"
DEEPSPEED_FOLDER = "checkpoint"
"""Below the state, which DeepSpeed makes a folder of."""
DEEPSPEED_WEIGHTS_FILE = "mp_rank_00_model_states.pt"
"""In it, but not under ZeRO-3."""
ONLY_DATA = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
"""By which torch reads data and no code, whatever its caller asks for."""
CONFIG_FILE = "config.yaml"
MAY_CHANGE = frozenset(
    {
        "resume",
        "profile",
        "logger",
        "checkpoint.keep",
        "video.num_workers",
        "video.steps_ahead",
        "video.cache_mib",
        "dataset.root",  # the same data in another place
        "dataset.video_root",
        "cold_start.cache_dir",
        "vision_features",
        "video.frame_cache_gib",
        "video.frame_cache_dir",
    }
)
"""Settings a resumed run may change: none of them alters a number."""
ROUNDS_OTHERWISE = frozenset(
    {"trainer.devices", "trainer.num_nodes", "trainer.micro_batch_prompts", "trainer.num_threads"}
)
"""Settings it may change, too: they say in which order sums are added up, and so how they are rounded.

Prompts, seeds and learning rates stay the same. A weight that is rounded otherwise may draw another token some day.
"""


class Checkpoint(NamedTuple):
    """A complete checkpoint: `folder/state.ckpt`, taken after `global_step` steps were finished.

    DeepSpeed makes a folder of it, to which each process adds its optimizer state, and under ZeRO-3 its weights.
    """

    folder: Path
    global_step: int

    @property
    def state_file(self) -> Path:
        return self.folder / STATE_FILE

    def weights(self) -> dict[str, torch.Tensor]:
        """The module's state dict, without optimizer state; of an adapter alone where one trains. Loaded as data."""
        if not self.state_file.is_dir():
            return torch.load(self.state_file, map_location="cpu", mmap=True, weights_only=True)["state_dict"]
        file = self.state_file / DEEPSPEED_FOLDER / DEEPSPEED_WEIGHTS_FILE
        if file.exists():
            return torch.load(file, map_location="cpu", mmap=True, weights_only=True)["module"]
        with quietly(), only_data():
            from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint  # not always installed

            return get_fp32_state_dict_from_zero_checkpoint(str(self.state_file), tag=DEEPSPEED_FOLDER)


@contextmanager
def only_data() -> Iterator[None]:
    """Surrounds DeepSpeed's reading of checkpoints, which by itself would run whatever code is pickled in them.

    Beside tensors and numbers they hold three classes of DeepSpeed's, which do nothing when they are made.
    """
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    before = os.environ.get(ONLY_DATA)
    os.environ[ONLY_DATA] = "1"
    try:
        with torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
            yield
    finally:
        if before is None:
            os.environ.pop(ONLY_DATA, None)
        else:
            os.environ[ONLY_DATA] = before


@contextmanager
def quietly() -> Iterator[None]:
    """Surrounds programs of DeepSpeed's, which print how they get on."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield


def part_of(weights: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The weights whose names begin with `prefix`, by what follows it."""
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


def complete_checkpoints(run_dir: Path) -> list[Checkpoint]:
    """Complete checkpoints of a run, oldest first: a folder gets its final name once everything in it is on disk."""
    named = ((folder, COMPLETE.fullmatch(folder.name)) for folder in (run_dir / "checkpoints").glob("step_*"))
    found = [Checkpoint(folder, int(name[1])) for folder, name in named if name]
    return sorted(found, key=lambda checkpoint: checkpoint.global_step)


def write_checkpoint(run_dir: Path, global_step: int, save, *, keep: int) -> Checkpoint:
    """Write `checkpoints/step_<n>` through `save(path)`, then remove all but the newest `keep`.

    The folder is filled under a temporary name, forced to disk and renamed; older ones go only after that, so the
    newest complete checkpoint survives a kill at any moment. Every process calls this and `save`; the first one does
    the rest.
    """
    root = run_dir / "checkpoints"
    temporary, final = root / f".writing_{global_step:06d}", root / f"step_{global_step:06d}"
    if processes.is_first():
        root.mkdir(parents=True, exist_ok=True)
        for leftover in root.glob(".writing_*"):
            shutil.rmtree(leftover)
        temporary.mkdir()
    processes.barrier()
    save(temporary / STATE_FILE)
    processes.barrier()  # where states are sharded, every process writes
    if processes.is_first():
        force_to_disk(temporary)
        if final.exists():
            shutil.rmtree(final)
        os.replace(temporary, final)
        for old in complete_checkpoints(run_dir)[:-keep]:
            shutil.rmtree(old.folder)
    processes.barrier()
    return Checkpoint(final, global_step)


def force_to_disk(folder: Path) -> None:
    """Flush every file below `folder`, and the folder itself, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def open_run_folder(run_dir: Path, config: Mapping[str, Any], resume: str | None) -> None:
    """Make the run folder, or check that the one there may be continued; what earlier attempts died of goes.

    `resume` is None for a new run, "auto" to continue if there is anything, or the folder's own path to insist on it.
    Raises `ValueError` with the remedy, `FolderTaken` where this run may not write there.
    """
    holds_run = (run_dir / CONFIG_FILE).exists()
    if holds_run and resume is None:
        raise FolderTaken(
            f"{run_dir} already holds a run: continue it with resume=auto, or choose another hydra.run.dir"
        )
    if resume not in (None, "auto") and not holds_run:
        raise ValueError(f"resume={resume}: there is no {CONFIG_FILE} in {run_dir}, so it is no run folder")
    run_dir.mkdir(parents=True, exist_ok=True)
    record_config(run_dir, config)
    forget_errors(run_dir)


def record_config(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Write `config.yaml`, or refuse with the difference when the folder holds a run with other settings.

    What only rounds otherwise is told and not refused; the file goes on saying what the run began with.
    """
    file = run_dir / CONFIG_FILE
    plain = json.loads(json.dumps(config))
    if file.exists():
        recorded = yaml.safe_load(file.read_text(encoding="utf-8"))
        changed = changed_settings(recorded, plain)
        told = {key: f"{key}: {old!r} there, {new!r} now" for key, (old, new) in changed.items()}
        refused = "\n".join(f"  {text}" for key, text in told.items() if key not in ROUNDS_OTHERWISE)
        if refused:
            raise FolderTaken(
                f"settings differ from those recorded in {file}:\n{refused}\nA run is resumed with its own settings: "
                "leave these overrides out, or start a new run in another folder."
            )
        if told:
            print(f"from here on sums are rounded otherwise: {'; '.join(told.values())}")
        return
    try:
        write_new(file, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    except FileExistsError:
        raise FolderTaken(f"another run has just begun in {run_dir}: choose another hydra.run.dir") from None


def changed_settings(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (recorded, current) for every setting that differs and is not in `MAY_CHANGE`."""
    old, new = _flatten(recorded), _flatten(current)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not any(key == free or key.startswith(f"{free}.") for free in MAY_CHANGE)
    }


def _flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, Mapping) or not node:
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
