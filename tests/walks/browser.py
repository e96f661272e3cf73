"""Opening pages in a real browser: what its scripts find there, what it loads, what it shows."""

import json
import os
import re
import shutil
import subprocess
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.image import imread

from museg.report.drawing import COLOURS
from tests.shared import unavailable

WIDTH_PX = 1200
"""Of a laptop's window."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
REPORT = """
const result = document.createElement("pre");
result.id = "probe";
result.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
document.body.append(result);
"""
"""End of a measuring script: what it put into `found` comes back from `measured`."""


def find_browser() -> str:
    """The browser to use; ends the test where there is none."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        unavailable("no Chromium here to open the page in (Debian: apt-get install chromium)")
    return browser


def browse(browser: str, page: Path, profile: Path, *flags: str) -> str:
    """Open a page and return what the browser prints."""
    root_only = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    command = [browser, *FLAGS, *root_only, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def measured(browser: str, page: Path, script: str, folder: Path) -> dict[str, Any]:
    """What a measuring script finds in a copy of the page without its content policy."""
    bare, num_policies = POLICY.subn("", page.read_text(encoding="utf-8"))
    assert num_policies == 1
    probe = folder / "probe.html"
    probe.write_text(bare.replace("</body>", f"<script>{script}{REPORT}</script></body>"), encoding="utf-8")
    size = f"--window-size={WIDTH_PX},1000"
    dom = browse(browser, probe, folder / "profile", size, "--virtual-time-budget=3000", "--dump-dom")
    encoded = re.search(r'<pre id="probe">([^<]*)</pre>', dom)
    assert encoded, "the measuring script did not run to its end"
    return json.loads(b64decode(encoded[1]))


def screen_of(browser: str, page: Path, height_px: int, folder: Path) -> np.ndarray:
    """The page as it is, as RGB [height, width, 3] in 0-255."""
    screenshot, size = folder / "page.png", f"--window-size={WIDTH_PX},{height_px}"
    browse(browser, page, folder / "profile", size, "--virtual-time-budget=3000", f"--screenshot={screenshot}")
    return (imread(screenshot)[:, :, :3] * 255).round().astype(np.int16)


@contextmanager
def recording_server() -> Iterator[tuple[str, list[str]]]:
    """An address that hostile texts try to load from, and the list of paths that were asked for."""
    asked: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()


def share_of(region: np.ndarray, colour: str) -> float:
    """Share of a region's pixels within a few levels of one of our colours."""
    rgb = np.array([int(COLOURS[colour][place : place + 2], 16) for place in (1, 3, 5)])
    return float((np.abs(region - rgb).max(axis=2) <= 12).mean())
