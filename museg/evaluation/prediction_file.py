"""Answers as JSON lines below a header, appended batch by batch so that a kill at any moment loses one batch at most.

A shard's file says in every line how many lines of the same batch follow. What stands behind the last complete batch
was being written when the process died; it is cut off and answered again.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

FOLLOWING = "following"
"""Key of a shard's lines: lines of the same batch that follow. Merged files do not have it."""

ONLY_TOLD = ("code_version", "checkpoint.name", "answering.batch_size", "device", "versions")
"""Parts of a header that may change between two starts: equal weights answer alike, but for rounding."""

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What network file systems that were mounted without locks say."""

Record = Mapping[str, Any]


@dataclass(frozen=True)
class WrittenAnswers:
    """What a file of answers holds: `header` is None where not even that was written completely."""

    header: Mapping[str, Any] | None
    records: tuple[Record, ...]
    num_bytes: int
    """Length of the part that is complete."""


def read_shard(file: Path) -> WrittenAnswers:
    """Read the complete batches of a file; ValueError for a line in the middle that this program did not write."""
    content = file.read_bytes()
    header, num_bytes, end = None, 0, 0
    records: list[Record] = []
    batch: list[Record] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        end += len(line) + 1
        row = _read_line(file, number, line)
        if number == 1:
            header, num_bytes = row.get("header"), end
            if not isinstance(header, dict):
                raise ValueError(f"{file}:1: no header; this is no file of predictions, move it away")
            continue
        batch.append({name: value for name, value in row.items() if name != FOLLOWING})
        if row.get(FOLLOWING) == 0:
            records += batch
            batch, num_bytes = [], end
    return WrittenAnswers(header, tuple(records), num_bytes)


def check_header(file: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Refuse to go on with answers that something else gave.

    Raises ValueError that lists every part of the header that changed and decides answers. Returns what else changed,
    in words, "" where nothing did.
    """
    before, after = _flat(old), _flat(new)
    changed = {
        name: f"{name}: {before.get(name)!r} -> {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if name not in before or name not in after or before[name] != after[name]
    }
    told = [change for name, change in changed.items() if _is_only_told(name)]
    refused = [change for name, change in changed.items() if not _is_only_told(name)]
    if refused:
        raise ValueError(
            f"{file} holds answers given under other conditions:\n  "
            + "\n  ".join(refused)
            + "\nChoose another output folder, or delete that file to answer again"
        )
    return "; ".join(told)


def as_json(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they come back from a file."""
    return json.loads(json.dumps(values))


def header_line(header: Mapping[str, Any]) -> str:
    """The first line of every file of predictions."""
    return json.dumps({"header": header}) + "\n"


class ShardFile:
    """One process's own file, locked against a second process that was given the same share.

    Opening it cuts off what a kill left unfinished. Raises ValueError for answers of another header and for a file that
    is in use.
    """

    def __init__(self, file: Path, header: Mapping[str, Any]) -> None:
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock()
            self._continue(header)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, records: Sequence[Record]) -> None:
        """Write one batch in one go and force it to the disk."""
        numbered = zip(range(len(records) - 1, -1, -1), records, strict=True)
        self._write("".join(json.dumps({**record, FOLLOWING: number}) + "\n" for number, record in numbered))

    def __enter__(self) -> "ShardFile":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            _lock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{self.file} is being written by another process: give every process its own shard.index"
            ) from error

    def _continue(self, header: Mapping[str, Any]) -> None:
        written = read_shard(self.file)
        if written.records:
            check_header(self.file, written.header, header)
            os.ftruncate(self._descriptor, written.num_bytes)
        else:  # a header alone is nobody's answer
            os.ftruncate(self._descriptor, 0)
            self._write(header_line(header))

    def _write(self, text: str) -> None:
        left = text.encode()
        while left:
            left = left[os.write(self._descriptor, left) :]
        os.fsync(self._descriptor)


def is_being_written(file: Path) -> bool:
    """Whether a process has this file open as its `ShardFile`."""
    with file.open("rb") as opened:
        try:
            _lock(opened.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def alone(lock_file: Path) -> Iterator[None]:
    """Wait until no other process is in this place; a process that dies here leaves it."""
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("a") as opened:
        _lock(opened.fileno(), fcntl.LOCK_EX)
        yield


def _lock(descriptor: int, operation: int) -> None:
    """Lock an open file. Where the file system knows no locks there is none, which only mistakes would need."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise


def _read_line(file: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}:{number}: not a line of predictions ({error}); delete from here on") from error
    if not isinstance(row, dict) or (number > 1 and not isinstance(row.get("id"), str)):
        raise ValueError(f"{file}:{number}: not a line of predictions; delete from here on")
    return row


def _is_only_told(name: str) -> bool:
    return any(f"{name}.".startswith(f"{part}.") for part in ONLY_TOLD)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
