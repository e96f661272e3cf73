"""Unpacking downloaded zip and tar archives without trusting them.

Nothing is ever written outside the folder, no link or device is made, and size and number of files are limited. Each
file gets its place in one move, whole, after the whole archive was read.
"""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import BinaryIO

from museg.data.download import CHUNK_BYTES, Progress
from museg.data.sources import Unpack

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".flv", ".mpg", ".mpeg", ".3gp", ".wmv")
"""What is unpacked where nothing is named; other files (licences, lists) stay in the archive."""

STAGING = ".unpacking"

MOST_HEADER_BYTES = 2**20

ZIP_MARKS = (b"PK\x03\x04", b"PK\x05\x06")

DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    EOFError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    NotImplementedError,
)
"""What the libraries raise for archives they cannot read; NotImplementedError: an unknown kind of compression."""


@dataclass(frozen=True)
class UnpackLimits:
    """The most that an archive may unpack to."""

    num_bytes: int
    num_files: int = 500_000

    @classmethod
    def for_archive(cls, archive: Path) -> UnpackLimits:
        """Videos hardly shrink in an archive and text shrinks tenfold: more than 20 times the size is a trap."""
        return cls(num_bytes=2**30 + 20 * archive.stat().st_size)


@dataclass(frozen=True)
class _Member:
    """An entry of an archive; `open` is None for a folder. Usable only until the next one is asked for."""

    name: str
    open: Callable[[], BinaryIO] | None


def unpack(
    archive: Path,
    folder: Path,
    layout: Unpack,
    *,
    only: Sequence[str] = (),
    limits: UnpackLimits | None = None,
    progress: Progress | None = None,
) -> int:
    """Put the videos of `archive` (or the files called as in `only`) into `folder`; returns how many there were.

    `flat` leaves all folders out, `tree` keeps them, but for a leading one that is called like `folder`. Files that
    are there already stay. Raises ValueError, with nothing put in place, for a damaged archive and for one that would
    write outside, make a link or a device, hold a file twice or exceed the limits.
    """
    limits = limits or UnpackLimits.for_archive(archive)
    staging = folder / STAGING
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        num_files = _unpack_into(staging, archive, folder.name, layout, only, limits, progress)
        _move(staging, folder)
    except DAMAGE as error:
        raise ValueError(f"{archive}: cannot be read ({error}); delete it to download it again") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return num_files


def place_of(name: str, layout: Unpack, folder_name: str) -> PurePosixPath:
    """Where an entry called `name` belongs, relative to the folder. Raises ValueError for a name that leads outside."""
    path = PurePosixPath(name)
    leads_outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    if leads_outside or "\\" in name or "\0" in name or not path.parts:
        raise ValueError(f"the entry {name!r} would be written outside the folder")
    if layout == "flat":
        return PurePosixPath(path.name)
    return path.relative_to(folder_name) if path.parts[0] == folder_name and len(path.parts) > 1 else path


def _unpack_into(
    staging: Path,
    archive: Path,
    folder_name: str,
    layout: Unpack,
    only: Sequence[str],
    limits: UnpackLimits,
    progress: Progress | None,
) -> int:
    num_files, num_entries, bytes_left = 0, 0, limits.num_bytes
    try:
        for member in _members(archive):
            num_entries += 1
            if num_entries > limits.num_files:
                raise ValueError(f"holds more than {limits.num_files} entries")
            place = place_of(member.name, layout, folder_name) if member.open else None
            if place is None or not _is_wanted(PurePosixPath(member.name), only):
                continue
            target = staging / place
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as file:
                bytes_left -= _copy(file, target, bytes_left, limits)
            num_files += 1
            if progress is not None:
                progress(f"unpacking {archive.name}", num_files, None)
    except ValueError as error:
        raise ValueError(f"{archive}: {error}; nothing of it was unpacked") from error
    return num_files


def _is_wanted(path: PurePosixPath, only: Sequence[str]) -> bool:
    if only:
        return path.name in only
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in VIDEO_SUFFIXES and not is_hidden


def _copy(file: BinaryIO, target: Path, bytes_left: int, limits: UnpackLimits) -> int:
    """Write `file` to `target` and return its size; what it says about its own size is not believed."""
    num_bytes = 0
    try:
        with target.open("xb") as written:
            while chunk := file.read(CHUNK_BYTES):
                num_bytes += len(chunk)
                if num_bytes > bytes_left:
                    raise ValueError(f"unpacks to more than {limits.num_bytes} bytes, which no archive of videos does")
                written.write(chunk)
    except FileExistsError as error:
        raise ValueError(f"holds {target.name} twice") from error
    return num_bytes


def _move(staging: Path, folder: Path) -> None:
    for file in sorted(path for path in staging.rglob("*") if path.is_file()):
        target = folder / file.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.replace(file, target)


def _members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        is_zip = file.read(4) in ZIP_MARKS
    if is_zip:
        with zipfile.ZipFile(archive) as opened:
            yield from _zip_members(opened)
    else:
        # Read in one pass, so that a compressed archive of many gigabytes is not decompressed twice.
        with tarfile.open(archive, "r|*", tarinfo=_BoundedHeader) as opened:
            yield from _tar_members(opened)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in opened.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"the entry {entry.filename!r} is a link or a device")
        if entry.flag_bits & 1:
            raise ValueError(f"the entry {entry.filename!r} is encrypted")
        yield _Member(entry.filename, None if entry.is_dir() else lambda entry=entry: opened.open(entry))


class _BoundedHeader(tarfile.TarInfo):
    """A tar header whose extensions (long names, notes), which are read into memory whole, have a limit."""

    def _proc_member(self, opened: tarfile.TarFile) -> tarfile.TarInfo:
        if not (self.isfile() or self.isdir()) and self.size > MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(opened)


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    for entry in opened:
        if not (entry.isfile() or entry.isdir()):
            raise ValueError(f"the entry {entry.name!r} is a link or a device")
        yield _Member(entry.name, None if entry.isdir() else lambda entry=entry: opened.extractfile(entry))
        opened.members.clear()  # a tar file keeps all it has seen, which a stream never needs again
