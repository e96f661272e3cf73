"""Bringing sources to their places below a root, and remembering what was downloaded."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from museg.data.archives import unpack
from museg.data.download import Progress, describe, download, mismatch
from museg.data.sources import Pin, Source

RECORDS = "downloads.json"
DOWNLOADS = "downloads"


@dataclass(frozen=True)
class Record:
    """A file as it was first downloaded."""

    num_bytes: int
    sha256: str
    is_unpacked: bool = False


class Records:
    """What was downloaded below a root, by address, in `<root>/downloads.json`."""

    def __init__(self, root: Path) -> None:
        self.file = root / RECORDS
        try:
            rows = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else {}
            self._rows = {url: Record(**row) for url, row in rows.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.file} cannot be read ({error}); correct it, or remove it to forget what was downloaded"
            ) from error

    def get(self, url: str) -> Record | None:
        return self._rows.get(url)

    def put(self, url: str, record: Record) -> None:
        """Remember `record`; the file is replaced in one move."""
        self._rows[url] = record
        self.file.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_name(f".{RECORDS}.{os.getpid()}")
        rows = {url: asdict(row) for url, row in sorted(self._rows.items())}
        unfinished.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(self.file)


def download_path(source: Source, root: Path) -> Path:
    """Where the download of `source` lies: in its place, or, for an archive, below `downloads`."""
    if source.unpack is None:
        return root / source.to
    return root / DOWNLOADS / source.name / PurePosixPath(urlsplit(source.url).path).name


def is_unpacked(source: Source, records: Records) -> bool:
    """Whether the archive was unpacked before; then what lacks is not in it."""
    record = records.get(source.url)
    return source.unpack is not None and record is not None and record.is_unpacked


def fetch(source: Source, root: Path, records: Records, progress: Progress | None = None) -> None:
    """Download `source` and unpack it where it is an archive. A file that is there is checked instead of downloaded.

    Raises ValueError when it cannot be had or is not what was published, or what was recorded at the first download.
    """
    path, record = download_path(source, root), records.get(source.url)
    pin = _pin(source, record)
    if path.exists():
        found = describe(path, progress)
        if fault := mismatch(found, pin):
            raise ValueError(f"{path}: {fault}; delete it to download it again from {source.url}")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = download(source.url, path, pin=pin, progress=progress)
        records.put(source.url, Record(found.num_bytes, found.sha256))
    if source.unpack is not None:
        unpack(path, root / source.to, source.unpack, only=source.only, progress=progress)
        records.put(source.url, Record(found.num_bytes, found.sha256, is_unpacked=True))


def needed(sources: Sequence[Source], places: Sequence[Path], root: Path) -> list[Source]:
    """The sources below whose folder one of `places`, which are missing, lies."""
    return [source for source in sources if any(place.is_relative_to(root / source.to) for place in places)]


def _pin(source: Source, record: Record | None) -> Pin:
    """What the download must be: as published where that is known, else as it was the first time."""
    known = record or Pin()
    return Pin(source.pin.num_bytes or known.num_bytes, source.pin.sha256 or known.sha256)
