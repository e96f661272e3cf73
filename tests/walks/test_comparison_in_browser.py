"""The page of compared runs in a browser: what it loads and runs, how its list answers, how it looks."""

import json
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from museg.report.comparison_page import write_comparison_page
from museg.report.evaluation_page import write_evaluation_page
from tests.report.invented_comparison import write_invented_comparison
from tests.report.invented_evaluation import write_invented_evaluation
from tests.walks.browser import WIDTH_PX, browse, find_browser, measured, recording_server, screen_of, share_of

NUM_SAMPLES = 200
LAYOUT = """
const found = { owned: window.owned ?? null, images: document.images.length, scripts: document.scripts.length,
  styles: document.querySelectorAll("style").length, overflow: document.documentElement.scrollWidth - innerWidth,
  height: document.documentElement.scrollHeight };
const folded = e => e.closest("details:not([open])") && !e.closest("summary");
found.tight = [...document.querySelectorAll("header *, .scroll, .picture, .axes, .controls")].filter(e =>
  e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && !folded(e)).map(e => `${e.className}: ${e.innerText}`);
"""
LISTED = """
const set = (name, value) => {
  const control = document.getElementById(`by-${name}`);
  control.value = value;
  control.dispatchEvent(new Event(name === "text" ? "input" : "change"));
};
const turn = by => document.querySelector(`.turn[value="${by}"]`).click();
const place = () => document.querySelector(".place").textContent;
const articles = () => [...document.querySelectorAll("#list article")];
const changes = () => articles().map(a => a.querySelector(".why")?.textContent ?? null);
const ids = () => articles().map(a => a.querySelector("bdi").textContent);
const verdicts = () => articles().map(a => [...a.querySelectorAll(".verdict")].map(v => v.textContent));
found.first = { place: place(), changes: changes(), texts: articles().map(a => a.querySelector("h3").textContent),
  bars: [...document.querySelectorAll("#list rect")].map(r => r.getBoundingClientRect().width),
  kinds: [...new Set([...document.querySelectorAll("#list svg g")].map(g => g.getAttribute("class")))],
  fills: [...new Set([...document.querySelectorAll("#list rect")].map(r => getComputedStyle(r).fill))] };
turn(1); found.second = { place: place(), ids: ids() };
turn(-1); found.back = place();
set("order", "better"); found.better = changes();
set("order", "worse"); found.worse = changes();
set("order", "file"); found.file = ids();
set("count", "2-2"); found.two = articles().map(a => a.querySelectorAll("svg")[0].querySelectorAll(".ink rect").length);
set("count", "0-1000000"); set("failure", "kind:missing"); found.missing = verdicts();
set("failure", "none"); found.read = place(); set("failure", "kind:"); found.unread = place(); set("failure", "");
set("task", [...document.getElementById("by-task").options].find(o => o.textContent.includes("rar")).value);
found.letters = { place: place(), axes: document.querySelectorAll("#list svg").length };
set("task", ""); set("text", "DIVER"); found.search = { place: place(),
  texts: articles().map(a => a.querySelector("h3").textContent) };
set("text", "three at once"); found.stacked = [...document.querySelectorAll("#list svg")].slice(0, 2).map(svg =>
  [...svg.querySelectorAll("g:not(.truth) rect")].map(r => r.getBoundingClientRect()).map(r => [r.top, r.bottom]));
set("text", "no such words"); found.nothing = place(); set("text", "");
const began = performance.now(); set("order", "size"); found.redraw_ms = performance.now() - began;
"""
LOADED = 'new Image().src = "CONTROL";'


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, Any]:
    """What measuring finds in a comparison of two runs on two benchmarks."""
    browser, folder = find_browser(), tmp_path_factory.mktemp("compared")
    compared = write_invented_comparison(folder / "all", num_samples=NUM_SAMPLES)
    overlap_one_answer(folder / "all" / "runs" / "museg-3b" / "charades_sta" / "samples.jsonl")
    page = write_comparison_page(compared).html
    return measured(browser, page, LAYOUT + LISTED, folder)


def overlap_one_answer(file) -> None:
    """Give the first sample an answer of three segments that overlap, and words to find it by."""
    first, *others = file.read_text(encoding="utf-8").splitlines()
    sample = json.loads(first) | {"targets": [[20, 40]], "answer": "three at once"}
    sample |= {"segments": [[5, 10], [15, 30], [25, 50], [28, 35]]}
    file.write_text("\n".join([json.dumps(sample), *others]) + "\n", encoding="utf-8")


def values(changes: list[str]) -> list[float]:
    return [float(change.replace("−", "-")) for change in changes]


def test_the_list_starts_with_the_largest_differences(found):
    first = found["first"]
    assert first["place"] == "1–20 of 400 questions"
    sizes = np.abs(values(first["changes"]))
    assert len(sizes) == 20
    assert (np.diff(sizes) <= 0).all()
    assert sizes[0] == 1.0


def test_only_one_page_is_drawn_and_leafing_works(found):
    assert found["second"]["place"] == "21–40 of 400 questions"
    assert len(found["second"]["ids"]) == 20
    assert found["back"] == "1–20 of 400 questions"


def test_the_order_can_be_chosen(found):
    better, worse = values(found["better"]), values(found["worse"])
    assert better == sorted(better, reverse=True)
    assert worse == sorted(worse)
    assert better[0] > 0.5 > -0.5 > worse[0]
    assert found["file"] == [str(row) for row in range(20)]


def test_questions_can_be_filtered(found):
    assert found["two"]
    assert set(found["two"]) == {2}
    assert found["missing"]
    assert all(any("missing" in verdict for verdict in verdicts) for verdicts in found["missing"])
    read, unread = (int(re.search(r"(\d+) question", found[key])[1]) for key in ("read", "unread"))
    assert read + unread == 2 * NUM_SAMPLES
    assert read > unread > 0
    # every fifth of the second benchmark's questions asks for a letter; letters have no time axis
    assert found["letters"] == {"place": f"1–20 of {NUM_SAMPLES // 5} questions", "axes": 0}
    assert set(found["search"]["texts"]) == {"the diver leaves the board"}
    assert found["nothing"] == "0 questions"


def test_bars_have_width_and_the_colours_of_the_sheet(found):
    first = found["first"]
    assert {"truth", "ink", "orange", "blue"} == set(first["kinds"])
    assert min(first["bars"]) >= 0
    assert max(first["bars"]) > 100
    assert {"rgb(31, 111, 181)", "rgb(217, 112, 15)", "rgb(28, 35, 48)"} <= set(first["fills"])


def test_segments_that_overlap_stand_above_each_other(found):
    truth, answer = found["stacked"]
    assert len(truth) == 1 and truth[0][1] - truth[0][0] > 12  # alone, a bar has most of the row
    # 5-10 and 15-30 in one strip, 25-50 in the next, 28-35 in the third; each of the last three is partly true
    bands = sorted({(round(top, 1), round(bottom, 1)) for top, bottom in answer})
    assert len(bands) == 3 and len(answer) == 7
    assert all(lower[0] > upper[1] for upper, lower in pairwise(bands))


def test_a_laptop_needs_no_sideways_scrolling(found):
    assert found["overflow"] <= 0
    assert found["tight"] == []


def test_the_script_runs_under_the_content_policy(tmp_path):
    browser = find_browser()
    folder = write_invented_comparison(tmp_path / "all", benchmarks=("charades_sta",), num_samples=20)
    screen = screen_of(browser, write_comparison_page(folder).html, 3000, tmp_path)
    assert screen.shape[:2] == (3000, WIDTH_PX)
    # Bars are there because the one named script ran. Without it each colour is in the key: 18 x 9 of 3.6 million
    # pixels, less than 0.00005, and blue in the marked cells of the table.
    assert {colour: share_of(screen, colour) > 0.001 for colour in ("ink", "blue", "orange")} == {
        "ink": True,
        "blue": True,
        "orange": True,
    }


def test_hostile_texts_do_nothing(tmp_path):
    browser = find_browser()
    with recording_server() as (address, asked):
        folder = write_invented_comparison(tmp_path / "all", num_samples=40, hostile=True)
        for file in [*tmp_path.rglob("samples.jsonl"), folder / "comparison.json"]:
            file.write_text(file.read_text(encoding="utf-8").replace("src=x", f"src={address}/x"), encoding="utf-8")
        page = write_comparison_page(folder).html
        probe = LAYOUT + 'found.texts = [...document.querySelectorAll("h3")].map(h => h.textContent);\n'
        found = measured(browser, page, probe + LOADED.replace("CONTROL", f"{address}/control"), tmp_path)
        dom = browse(browser, page, tmp_path / "profile", "--virtual-time-budget=3000", "--dump-dom")
    assert found["owned"] is None
    assert (found["images"], found["styles"]) == (0, 1)
    assert found["scripts"] == 3  # the data, the one that draws, the measuring one
    assert "</script><script>window.owned=1</script>" in found["texts"]
    assert dom.count('<article class="timeline pair"') == 20
    assert asked == ["/control"]  # the measuring script's own, which shows that a request would be seen
    assert found["overflow"] <= 0


def test_any_other_script_is_refused(tmp_path):
    browser = find_browser()
    page = write_comparison_page(write_invented_comparison(tmp_path / "all", num_samples=10)).html
    html = page.read_text(encoding="utf-8")
    (tmp_path / "more.html").write_text(
        html.replace("</body>", "<script>document.body.append('it ran')</script></body>"), encoding="utf-8"
    )
    dom = browse(browser, tmp_path / "more.html", tmp_path / "profile", "--virtual-time-budget=3000", "--dump-dom")
    assert "</script>it ran" not in dom
    assert dom.count('<article class="timeline pair"') == 20  # the page's own still ran


def test_a_whole_benchmark_of_7289_questions_is_quick(tmp_path):
    browser = find_browser()
    folder = write_invented_comparison(tmp_path / "all", benchmarks=("et_bench",), num_samples=7_289)
    page = write_comparison_page(folder).html
    assert page.stat().st_size < 12_000_000
    found = measured(browser, page, LAYOUT + LISTED, tmp_path)
    assert found["first"]["place"] == "1–20 of 7,289 questions"
    assert found["redraw_ms"] < 1_000  # about 30 on an idle machine


def test_the_page_of_an_evaluation_full_of_hostile_texts(tmp_path):
    browser, folder = find_browser(), write_invented_evaluation(tmp_path / "run", "et_bench", hostile=True)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    ranges = {f"MR-{kind}-R1@{t / 100:g}": 45.67 for kind in ("full", "short") for t in range(30, 100, 5)}
    metrics["scores"]["official"] |= ranges  # the widest table there is: 14 thresholds
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    page = write_evaluation_page(folder).html
    found = measured(browser, page, LAYOUT, tmp_path)
    assert (found["owned"], found["images"], found["styles"], found["scripts"]) == (None, 0, 1, 1)
    assert found["overflow"] <= 0
    assert found["tight"] == []
    screen = screen_of(browser, page, found["height"], tmp_path)
    assert share_of(screen, "blue") > 0.01
    assert share_of(screen, "orange") > 0.001
