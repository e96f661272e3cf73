"""Files written in one move and known by their digest, and the versions of what wrote them."""

import hashlib
import os
from importlib import metadata
from pathlib import Path


def write_whole(file: Path, text: str) -> Path:
    """Replace a file in one move, so that a reader, or a kill, finds the old or the new one; returns it.

    The folder is made where it is not there. What UTF-8 cannot hold (half a surrogate pair) is written as an escape.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    temporary.replace(file)
    return file


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's contents in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(2**24):
            digest.update(block)
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
