"""The model below an adapter: kept where no checkpoint elsewhere holds it, and recognised when a run goes on."""

import json
from pathlib import Path

from safetensors.torch import load_model, save_model

from museg.files import share_as_usual, write_whole
from museg.policy.adapter import attach
from museg.policy.feature_cache import weights_sha256
from museg.policy.loading import Policy
from museg.training import processes

FOLDER = "base"
DIGEST_FILE, WEIGHTS_FILE = "base.json", "model.safetensors"


def put_adapter_on(policy: Policy, run_dir: Path, seed: int, *, is_resumed: bool, is_made_here: bool) -> None:
    """Put the policy's adapter, where it has one, on the model that this run trains it on.

    A model that a cold start made (`is_made_here`) is written into the run folder once, since the run's checkpoints
    hold the adapter alone; of any other model only the digest is. Raises ValueError when the run is resumed on another.
    """
    if policy.lora is None:
        return
    folder = run_dir / FOLDER
    if is_made_here and is_resumed:
        processes.on_first(lambda: _check_there(folder / WEIGHTS_FILE))
        load_model(policy.model, folder / WEIGHTS_FILE)
    processes.on_first(lambda: _recognise(policy, folder) if is_resumed else _record(policy, folder, is_made_here))
    attach(policy, seed)


def _record(policy: Policy, folder: Path, is_made_here: bool) -> None:
    folder.mkdir(exist_ok=True)
    if is_made_here:
        save_model(policy.model, str(folder / WEIGHTS_FILE))
        share_as_usual(folder / WEIGHTS_FILE)
    write_whole(folder / DIGEST_FILE, json.dumps({"weights_sha256": weights_sha256(policy.model)}) + "\n")


def _recognise(policy: Policy, folder: Path) -> None:
    _check_there(folder / DIGEST_FILE)
    recorded = json.loads((folder / DIGEST_FILE).read_text(encoding="utf-8"))["weights_sha256"]
    found = weights_sha256(policy.model)
    if found != recorded:
        raise ValueError(
            f"this run's adapter was trained on another model: its weights had the SHA-256 {recorded[:12]}..., those "
            f"loaded now have {found[:12]}.... Put the original model back, or start a new run"
        )


def _check_there(file: Path) -> None:
    if not file.is_file():
        raise ValueError(
            f"{file} is not there: it says which model this run's adapter belongs to. Put it back, or start a new run"
        )
