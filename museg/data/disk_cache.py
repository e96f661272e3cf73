"""Bytes kept in files under a digest: bounded in size, shared by processes, checked at every read."""

import errno
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(r"[0-9a-f]{64}\.entry")
UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.entry\.[0-9a-f]{16}")
MAGIC = b"museg cache 1\n"
HEAD_BYTES = len(MAGIC) + hashlib.sha256().digest_size

LEFTOVER_AGE_S = 3600
"""An unfinished file of this age belongs to a writer that was killed."""
LOOKS_PER_FILL = 256
"""How often the folder is measured while as much is written as it may hold. Looking at every write would cost more than
decoding a small clip; so the folder may pass its limit, by half a percent on average."""
MIN_FREE_SHARE = 0.05
"""Of the disk, which is left to checkpoints and to others."""


@dataclass(frozen=True)
class DiskCache:
    """At most `max_bytes` of files in `folder`; those not used for longest leave first.

    Keys are 64 hexadecimal digits (a SHA-256 of everything that decides the content). A file holds a mark, the SHA-256
    of key and payload, and the payload. It is written under another name and moved, so that a kill, or another process
    with the same key, leaves a whole file or none; what is damaged all the same is never returned. The digest has no
    secret: whoever may write to the folder decides what is returned and must be trusted, so a folder made here belongs
    to its owner alone. Links are not followed, and no file larger than the whole cache is read. Files with names of
    another kind are left alone.
    """

    folder: Path
    max_bytes: int

    @classmethod
    def of_gib(cls, folder: str | Path, max_gib: float) -> "DiskCache | None":
        """A cache of that size, in GiB; None where it is 0."""
        return cls(Path(folder).resolve(), int(max_gib * 2**30)) if max_gib else None

    def get(self, key: str) -> bytes | None:
        """What was put under `key`; None where it is not held, cannot be read, or is damaged (and removed)."""
        file = self._file(key)
        try:
            head, payload = _read(file, self.max_bytes)
        except OSError:
            return None
        if head != _head(key, payload):
            self.drop(key)
            return None
        with suppress(OSError):  # in a folder that may only be read, nothing leaves either
            os.utime(file, ns=(time.time_ns(),) * 2, follow_symlinks=False)
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Keep `payload`, unless it is larger than the whole cache. Raises OSError when it cannot be written."""
        num_bytes = HEAD_BYTES + len(payload)
        if num_bytes > self.max_bytes:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._leave_room_for_others(num_bytes)
        file = self._file(key)
        unfinished = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
        try:
            with unfinished.open("xb") as opened:  # x: a new file, never one that a link of this name points to
                opened.write(_head(key, payload))
                opened.write(payload)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
        # The key is as good as a random number, so all processes together look often enough, knowing nothing of each
        # other; a payload that is large beside the cache always makes them look.
        if int(key[:8], 16) / 16**8 < LOOKS_PER_FILL * num_bytes / self.max_bytes:
            self.shrink()

    def drop(self, key: str) -> None:
        """Remove what is under `key`, if that is possible."""
        with suppress(OSError):
            self._file(key).unlink()

    def shrink(self) -> None:
        """Remove what killed writers left behind, and the files used longest ago until the rest fits."""
        entries, num_bytes = [], 0
        for item, facts in self._own_files():
            if ENTRY.fullmatch(item.name):
                entries.append((facts.st_mtime_ns, facts.st_size, item.path))
            elif time.time() - facts.st_mtime > LEFTOVER_AGE_S:
                Path(item.path).unlink(missing_ok=True)
                continue
            num_bytes += facts.st_size
        for _, size, path in sorted(entries):
            if num_bytes <= self.max_bytes:
                return
            Path(path).unlink(missing_ok=True)
            num_bytes -= size

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.entry"

    def _own_files(self) -> Iterator[tuple[os.DirEntry, os.stat_result]]:
        with os.scandir(self.folder) as items:
            for item in items:
                if ENTRY.fullmatch(item.name) or UNFINISHED.fullmatch(item.name):
                    with suppress(FileNotFoundError):  # another process was quicker
                        yield item, item.stat(follow_symlinks=False)

    def _leave_room_for_others(self, num_bytes: int) -> None:
        disk = shutil.disk_usage(self.folder)
        if disk.free - num_bytes < MIN_FREE_SHARE * disk.total:
            raise OSError(errno.ENOSPC, f"less than {MIN_FREE_SHARE:.0%} of the disk would stay free")


def _head(key: str, payload: bytes) -> bytes:
    """The mark, and the digest of key and payload: a file moved to another key is damaged too."""
    digest = hashlib.sha256(key.encode())
    digest.update(payload)
    return MAGIC + digest.digest()


def _read(file: Path, max_bytes: int) -> tuple[bytes, bytes]:
    """Head and payload of a regular file of at most `max_bytes`; raises OSError for all else, pipes included, without
    waiting."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as opened:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file")
        if facts.st_size > max_bytes:
            raise OSError(errno.EFBIG, "is larger than the whole cache")
        return opened.read(HEAD_BYTES), opened.read(max(0, facts.st_size - HEAD_BYTES))
