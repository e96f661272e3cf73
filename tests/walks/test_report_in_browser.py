"""The report as people meet it: opened in a browser, measured there, and looked at as a picture."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

from museg.report.drawing import COLOURS
from museg.report.page import write_report
from tests.report.invented_run import write_invented_run
from tests.walks.browser import WIDTH_PX, find_browser, measured, recording_server, screen_of, share_of

PROBE = """
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top + scrollY, r.width, r.height]; };
const found = { owned: window.owned ?? null, scripts: document.scripts.length, images: document.images.length,
  styles: document.querySelectorAll("style").length, overflow: document.documentElement.scrollWidth - innerWidth,
  tight: [...document.querySelectorAll("header *, .scroll, .picture")].filter(e => e.scrollWidth > e.clientWidth + 1
    && e.clientWidth > 0).map(e => `${e.className}: ${e.innerText.slice(0, 60)}`),
  height: document.documentElement.scrollHeight, pictures: {} };
for (const e of document.querySelectorAll("main .picture")) {
  if (e.closest("details")) continue;
  const shapes = [...e.querySelectorAll("svg path")].map(p => [p, p.getBBox()]);
  found.pictures[e.id] = { box: box(e.querySelector("svg")),
    shapes: shapes.filter(([p, b]) => b.width > 0 || b.height > 0).length,
    words: [...e.querySelectorAll("svg text")].filter(t => t.getBBox().width > 0).map(t => t.textContent),
    fills: [...new Set(shapes.map(([p, b]) => getComputedStyle(p).fill))] };
}
new Image().src = "CONTROL";
"""


class Opened(NamedTuple):
    """What the browser found in the page, the page as RGB [height, width, 3] in 0-255, and what was loaded."""

    found: dict[str, Any]
    screen: np.ndarray
    requests: list[str]

    def region(self, name: str) -> np.ndarray:
        """The pixels of one picture of the page."""
        left, top, width, height = (round(value) for value in self.found["pictures"][name]["box"])
        return self.screen[top : top + height, left : left + width]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, list[str]]]:
    """An address that hostile texts try to load from, and the list of paths that were asked for."""
    with recording_server() as serving:
        yield serving


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, server: tuple[str, list[str]]) -> Opened:
    """A report full of hostile texts, first without its content policy and with a measuring script, then as it is."""
    browser = find_browser()
    address, asked = server
    folder = tmp_path_factory.mktemp("browser")
    run_dir = write_invented_run(folder / "run", hostile=True)
    for file in [*run_dir.glob("*.json*"), *run_dir.glob("predictions/*.jsonl")]:
        file.write_text(file.read_text(encoding="utf-8").replace("src=x", f"src={address}/x"), encoding="utf-8")
    page = write_report(run_dir).html
    found = measured(browser, page, PROBE.replace("CONTROL", f"{address}/control"), folder)
    screen = screen_of(browser, page, found["height"], folder)
    return Opened(found, screen, list(asked))


def test_hostile_texts_did_nothing_even_without_the_content_policy(opened):
    assert opened.found["owned"] is None
    assert opened.found["scripts"] == 1  # the measuring one
    assert (opened.found["images"], opened.found["styles"]) == (0, 1)


def test_the_page_loads_nothing(opened):
    assert opened.requests == ["/control"]  # the measuring script's own, which shows that a request would be seen


def test_curves_and_timelines_have_size_shapes_and_words(opened):
    pictures = opened.found["pictures"]
    assert {"curve_mean_iou", "curve_reward", "curve_kl", "curve_cold_start"} <= set(pictures)
    assert len([name for name in pictures if name.startswith("timeline_")]) == 8
    for name, picture in pictures.items():
        _, _, width_px, height_px = picture["box"]
        assert width_px > 400, name
        assert height_px > 80, name
        assert picture["shapes"] >= 5, name
    assert {"timestamp", "plain", "training step"} <= set(pictures["curve_mean_iou"]["words"])
    assert {"true", "cold start", "timestamp", "plain"} <= set(pictures["timeline_01"]["words"])
    assert any(word.startswith("IoU 0.") for word in pictures["timeline_01"]["words"])


def test_colours_come_from_the_style_sheet(opened):
    blue = tuple(int(COLOURS["blue"][place : place + 2], 16) for place in (1, 3, 5))
    assert f"rgb{blue}" in opened.found["pictures"]["timeline_01"]["fills"]


def test_a_laptop_needs_no_sideways_scrolling(opened):
    assert opened.found["overflow"] <= 0
    assert opened.found["tight"] == []  # no tile, table or picture is too narrow for what stands in it


def test_curves_are_seen_on_the_screen(opened):
    assert opened.screen.shape[:2] == (opened.found["height"], WIDTH_PX)
    region = opened.region("curve_mean_iou")
    # A curve of one to two pixels' width over some thousand columns of a region of some 240 rows.
    assert {colour: share_of(region, colour) > 0.001 for colour in ("blue", "orange", "teal")} == {
        "blue": True,
        "orange": True,
        "teal": True,
    }
    columns = (np.abs(region - region[0, 0]).max(axis=2) > 40).any(axis=0)
    assert columns[100:-30].mean() > 0.98  # drawn from the first step to the last


def test_timelines_are_seen_on_the_screen(opened):
    shares = {colour: [] for colour in ("ink", "blue", "orange")}
    for name in opened.found["pictures"]:
        if name.startswith("timeline_"):
            for colour, found in shares.items():
                found.append(share_of(opened.region(name), colour))
    assert min(shares["ink"]) > 0.002  # every example has a true segment
    assert np.mean(shares["blue"]) > 0.01
    assert np.mean(shares["orange"]) > 0.002
