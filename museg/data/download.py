"""Fetching one file over HTTP: taken up where it broke off, and checked against what it must be.

A transfer goes into `<name>.part`, described in `<name>.part.json`; only a complete file that is what it must be gets
its own name.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from museg.data.sources import Pin

Progress = Callable[[str, int, int | None], None]
"""Called with what is done, how much of it is, and how much there is (None: unknown)."""

CHUNK_BYTES = 2**20
TIMEOUT_S = 60.0
"""A server that stays silent for longer counts as gone."""
MOST_FAILURES = 5
"""Attempts in a row that bring nothing new before we give up."""
PASSING_STATUS = (408, 416, 429, 500, 502, 503, 504)
"""Answers of a server that may be different next time; 416 is met by starting over."""

ANYTHING = Pin()

NETWORK_ERRORS = (URLError, ConnectionError, TimeoutError, HTTPException)


@dataclass(frozen=True)
class _Offer:
    """What a server is about to send: the file's bytes from `start_byte` on, of `num_bytes` (None: unknown)."""

    start_byte: int
    num_bytes: int | None
    version: str | None
    """ETag or date of the file, by which a changed one is recognised."""


class _Part:
    """A transfer that has not come to its end, kept on disk."""

    def __init__(self, url: str, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self.note = target.with_name(f"{target.name}.part.json")
        self.url = url
        self.num_bytes, self.version = self._described()

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def restart(self, offer: _Offer) -> None:
        """Forget what was received and describe what comes now."""
        self.num_bytes, self.version = offer.num_bytes, offer.version
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(b"")
        self.note.write_text(
            json.dumps({"url": self.url, "num_bytes": self.num_bytes, "version": self.version}), encoding="utf-8"
        )

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def continues(self, offer: _Offer) -> bool:
        """Whether the bytes on offer carry on where this part ends, in the same version of the file."""
        same_file = (offer.num_bytes, offer.version) == (self.num_bytes, self.version)
        return same_file and offer.start_byte == self.size_bytes

    def _described(self) -> tuple[int | None, str | None]:
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            if note["url"] == self.url:
                return note["num_bytes"], note["version"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # without its description a part is of no use
        self.remove()
        return None, None


def download(
    url: str, target: Path, *, pin: Pin = ANYTHING, progress: Progress | None = None, wait_s: float = 1.0
) -> Pin:
    """Fetch `url` into `target` and return its size and SHA-256; a transfer that broke off earlier is taken up.

    After a broken connection it goes on at once, after failures in a row `wait_s` later, twice as long each time.
    Raises ValueError for an address that is not http(s), a server that refuses, a disk that is too small, and a file
    that is not what `pin` says (nothing is kept of it).
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"{url}: only http and https addresses are downloaded")
    part = _Part(url, target)
    num_failures = 0
    while True:
        size_before = part.size_bytes
        try:
            if part.num_bytes is None or part.size_bytes != part.num_bytes:
                _transfer(part, pin, progress)
            break
        except NETWORK_ERRORS as error:
            if isinstance(error, HTTPError) and error.code == 416:
                part.remove()
            num_failures = 1 if part.size_bytes > size_before else num_failures + 1
            if num_failures > MOST_FAILURES or _is_final(error):
                raise ValueError(_failure_message(url, error, part)) from error
            time.sleep(wait_s * (2 ** (num_failures - 1) - 1))
    found = describe(part.path, progress)
    if fault := mismatch(found, pin):
        part.remove()
        raise ValueError(f"{url}: {fault}; nothing was kept. {REMEDY}")
    part.path.replace(target)
    part.note.unlink(missing_ok=True)
    return found


REMEDY = (
    "If the origin has published a new version on purpose, remove the file's entry from downloads.json (or correct its "
    "num_bytes and sha256 in sources.yaml); else try again, perhaps from another network"
)


def describe(path: Path, progress: Progress | None = None) -> Pin:
    """Size and SHA-256 of a file."""
    digest, num_done, num_bytes = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            num_done += len(chunk)
            if progress is not None:
                progress(f"checking {path.name.removesuffix('.part')}", num_done, num_bytes)
    return Pin(num_bytes, digest.hexdigest())


def mismatch(found: Pin, pin: Pin) -> str | None:
    """In what a file differs from what it must be, in a few words."""
    if pin.num_bytes is not None and found.num_bytes != pin.num_bytes:
        return f"has {found.num_bytes} bytes where {pin.num_bytes} are expected"
    if pin.sha256 is not None and found.sha256 != pin.sha256:
        return f"has the SHA-256 {found.sha256} where {pin.sha256} is expected"
    return None


def _transfer(part: _Part, pin: Pin, progress: Progress | None) -> None:
    """Receive what is still lacking. Raises one of NETWORK_ERRORS when the connection ends before the file does."""
    headers = {"User-Agent": "museg", "Accept-Encoding": "identity"}
    if part.size_bytes:
        headers["Range"] = f"bytes={part.size_bytes}-"
    with urlopen(Request(part.url, headers=headers), timeout=TIMEOUT_S) as response:
        offer = _offer(response)
        if pin.num_bytes is not None and offer.num_bytes not in (None, pin.num_bytes):
            part.remove()
            raise ValueError(
                f"{part.url}: has {offer.num_bytes} bytes now where {pin.num_bytes} are expected. {REMEDY}"
            )
        if not (part.size_bytes and part.continues(offer)):
            part.restart(offer)
            if offer.start_byte:
                raise ConnectionError("the file has changed since its transfer began; starting over")
        _check_space(part)
        _receive(response, part, progress)
    if part.num_bytes is not None and part.size_bytes != part.num_bytes:
        raise ConnectionError(f"connection ended after {part.size_bytes} of {part.num_bytes} bytes")


def _receive(response: HTTPResponse, part: _Part, progress: Progress | None) -> None:
    num_done = part.size_bytes
    with part.path.open("ab") as file:
        while chunk := response.read(CHUNK_BYTES):
            if part.num_bytes is not None and num_done + len(chunk) > part.num_bytes:
                raise ConnectionError("the server sent more than it had announced")
            file.write(chunk)
            num_done += len(chunk)
            if progress is not None:
                progress(part.path.name.removesuffix(".part"), num_done, part.num_bytes)


def _offer(response: HTTPResponse) -> _Offer:
    version = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if response.status == 206:
        span = re.fullmatch(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19})", response.headers.get("Content-Range", ""))
        if span is None:
            raise ConnectionError("the server sends a part of the file without saying which")
        return _Offer(int(span[1]), int(span[2]), version)
    length = response.headers.get("Content-Length", "")
    return _Offer(0, int(length) if re.fullmatch(r"\d{1,19}", length) else None, version)


def _check_space(part: _Part) -> None:
    lacking = (part.num_bytes or 0) - part.size_bytes
    free = shutil.disk_usage(part.path.parent).free
    if lacking > free:
        raise ValueError(
            f"{part.url}: needs {lacking / 2**30:.1f} GiB more, {part.path.parent} has {free / 2**30:.1f} GiB free; "
            "make room or choose another root"
        )


def _is_final(error: Exception) -> bool:
    return isinstance(error, HTTPError) and error.code not in PASSING_STATUS


def _failure_message(url: str, error: Exception, part: _Part) -> str:
    reason = f"the server answered {error.code} {error.reason}" if isinstance(error, HTTPError) else str(error)
    kept = f"; {part.size_bytes} bytes are kept, the next call goes on from there" if part.size_bytes else ""
    return f"{url}: not downloaded, {reason or type(error).__name__}{kept}"
