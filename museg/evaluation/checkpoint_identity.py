"""What a checkpoint is, whatever its folder is called: a digest of the files that decide its answers."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from museg.files import sha256_of

PATTERNS = ("*.safetensors", "*.json")
LARGE_BYTES = 2**30
"""From this size on reading the files takes long enough to say so."""


def checkpoint_identity(path: str | Path, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Return {"name": as given, "sha256": over names and contents of the weight and settings files in the folder}.

    Args:
        path: a folder, or a name on the Hugging Face hub, whose files are fetched or taken from the local cache.
        say: told once when there is much to read.

    Raises ValueError when it is neither, holds no weights, or a file cannot be read.
    """
    folder = local_folder(str(path))
    files = sorted({file for pattern in PATTERNS for file in folder.glob(pattern)})
    if not any(file.suffix == ".safetensors" for file in files):
        raise ValueError(f"{path} holds no weights (*.safetensors): give the folder of a checkpoint")
    try:
        num_bytes = sum(file.stat().st_size for file in files)
        if num_bytes >= LARGE_BYTES:
            say(f"reading {num_bytes / 2**30:.1f} GiB of {path} for its digest")
        described = "".join(f"{file.name} {sha256_of(file)}\n" for file in files)
    except OSError as error:  # such as a link into a cache that was not copied along
        raise ValueError(f"checkpoint {path} is incomplete: copy it again. ({error})") from error
    return {"name": str(path), "sha256": hashlib.sha256(described.encode()).hexdigest()}


def local_folder(path: str) -> Path:
    """Where the files of a checkpoint lie: its folder, or that of the local cache. Raises ValueError for neither."""
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(path, allow_patterns=[*PATTERNS, "*.txt"]))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"checkpoint {path!r} is neither a folder here nor a reachable model of the Hugging Face hub ({error})"
        ) from error
