"""A real HTTP server on this machine that serves bytes well or badly, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Offered:
    """One file of the server, and how it misbehaves."""

    content: bytes
    version: str = '"1"'
    """ETag."""
    honours_range: bool = True
    cut_after_bytes: list[int] = field(default_factory=list)
    """The next answers end after so many bytes, one number for each."""
    statuses: list[int] = field(default_factory=list)
    """The next answers are these errors."""
    tells_length: bool = True


class ArchiveServer:
    """`files[path]` is served at `url(path)`; `asked` holds (path, Range header or None) of every request."""

    def __init__(self) -> None:
        self.files: dict[str, Offered] = {}
        self.asked: list[tuple[str, str | None]] = []
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def offer(self, path: str, content: bytes, **how) -> str:
        self.files[path] = Offered(content, **how)
        return self.url(path)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}"

    def ranges(self) -> list[str | None]:
        return [header for _, header in self.asked]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running() -> Iterator[ArchiveServer]:
    server = ArchiveServer()
    try:
        yield server
    finally:
        server.close()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what some tests are about."""


def _handler(server: ArchiveServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, wanted = self.path.lstrip("/"), self.headers.get("Range")
            server.asked.append((path, wanted))
            offered = server.files.get(path)
            if offered is None or offered.statuses:
                self.send_error(offered.statuses.pop(0) if offered else 404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and offered.honours_range else 0
            if start > len(offered.content):
                self.send_error(416)
                return
            self._send(offered, start)

        def _send(self, offered: Offered, start: int) -> None:
            body = offered.content[start:]
            self.send_response(206 if start else 200)
            if offered.version:
                self.send_header("ETag", offered.version)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(offered.content) - 1}/{len(offered.content)}")
            if offered.tells_length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: offered.cut_after_bytes.pop(0)] if offered.cut_after_bytes else body)

        def log_message(self, *_: object) -> None:
            """Tests read `asked` instead."""

    return Handler
