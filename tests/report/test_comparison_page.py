import json
import re
import shutil

import pytest

from museg.evaluation.comparison import ComparedRun, Evaluation, compare_runs, comparison_json
from museg.evaluation.published import published
from museg.metrics.sample_table import SampleTable
from museg.report.comparison_page import script_hash, write_comparison_page
from museg.report.comparison_samples import as_script_data, sample_data
from museg.report.comparison_tables import benchmark_tables
from museg.report.tolerant import Defects
from tests.report.invented_comparison import write_invented_comparison
from tests.report.invented_evaluation import HOSTILE, write_lines
from tests.report.parsed_page import Page


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return write_invented_comparison(tmp_path_factory.mktemp("comparison") / "all")


@pytest.fixture
def copy(compared, tmp_path):
    return shutil.copytree(compared.parent, tmp_path / "copy") / compared.name


def html_of(folder) -> str:
    return write_comparison_page(folder).html.read_text(encoding="utf-8")


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)[1])


def test_the_page_has_its_sections_and_all_questions(compared):
    html = html_of(compared)
    page = Page(html)
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == ["scores", "samples", "folder"]
    assert len(set(page.ids)) == len(page.ids)
    data = data_of(html)
    assert data["runs"] == ["museg-3b", "museg-7b"]
    assert len(data["samples"]) == 120
    assert all(len(sample["a"]) == 2 for sample in data["samples"])


def test_the_policy_names_the_one_script(compared):
    html = html_of(compared)
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    assert len(scripts) == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; script-src '{script_hash(scripts[0])}'"
    assert "unsafe-inline" not in policy.partition("script-src")[2]


def test_the_script_never_makes_markup_of_a_text(compared):
    script = re.search(r"<script>(.*?)</script>", html_of(compared), re.S)[1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|Function\(|setTimeout|fetch", script
    )


def test_hostile_texts_cannot_end_the_data(tmp_path):
    html = html_of(write_invented_comparison(tmp_path / "all", hostile=True))
    assert len(re.findall("<script", html)) == 2
    data = data_of(html)
    assert {sample["q"] for sample in data["samples"]} >= {HOSTILE[0], HOSTILE[1], HOSTILE[3]}
    assert data["runs"] == [HOSTILE[0], HOSTILE[1]]


def test_data_survive_the_way_into_the_page():
    value = {"a": [*HOSTILE[:2], HOSTILE[3], "]]>", "<!--", "\u2028", "é"], "b": None}
    text = as_script_data(value)
    assert not set("<>&") & set(text)
    assert json.loads(text) == value


def test_a_comparison_as_it_is_written(tmp_path):
    # Four samples, the second run 0.1 better on each: difference 0.100 in every resample, p = 2 / (10,000 + 1).
    def run(name, values):
        table = SampleTable(("m_iou",))
        for position, value in enumerate(values):
            table.update(position, {"m_iou": value})
        made = Evaluation(
            list("abcd"), {"tvg": {"official": table}}, lambda groups: groups["tvg"], [("official", "m_iou")]
        )
        return ComparedRun(name, {"charades_sta": made})

    runs = [run("one", [0.5, 0.5, 0.5, 0.5]), run("two", [0.6, 0.6, 0.6, 0.6])]
    written = comparison_json(compare_runs(runs), published(["museg_7b", "time_r1_7b"], ["charades_sta"]))
    (table,) = benchmark_tables(json.loads(json.dumps(written)))
    (row,) = table.headline
    assert (table.num_samples, table.models) == ("4", ("MUSEG-7B", "Time-R1-7B"))
    assert [(cell.text, cell.interval) for cell in row.values] == [("0.500", "0.500–0.500"), ("0.600", "0.600–0.600")]
    (difference,) = row.differences
    assert (difference.text, difference.p_value, difference.is_clear) == ("+0.100", "p < 0.001", True)
    printed = [[(cell.text, table.notes[cell.note - 1]) for cell in cells] for cells in row.published]
    # Time-R1's own columns belong to other metrics; this number is another bench's.
    assert [[text for text, _ in cells] for cells in printed] == [["0.597"], ["0.366"]]
    assert printed[0][0][1].startswith("another setting: the table does not say which single-segment statistic")
    assert printed[1][0][1].startswith("another setting: TimeLens-Bench: ")


def test_answers_are_matched_by_id(tmp_path):
    row = {"id": "x", "task": "tvg", "targets": [[1, 2]], "iou": 0.25, "segments": [[1.234567, 2]], "answer": "1 - 2"}
    for name, rows in {
        "a": [row, row | {"id": "y"}],
        "b": [row | {"id": "y", "iou": None, "failure": "empty"}],
    }.items():
        (tmp_path / name).mkdir()
        write_lines(tmp_path / name / "samples.jsonl", rows)
    runs = [{"name": name, "folders": {"thumos14": name}} for name in "ab"]
    first, second = sample_data({"runs": runs}, tmp_path, Defects())
    answer = {"s": 0.25, "u": True, "f": "", "p": [[1.23, 2.0]], "n": 1, "w": "1 - 2"}
    assert (first["i"], first["a"]) == ("x", [answer, None])
    assert (second["i"], second["a"][1]["f"], second["a"][1]["s"]) == ("y", "empty", None)
    assert second["x"] == 2.0  # no length known: to the end of the last segment


def test_an_empty_folder_and_none(tmp_path):
    assert "comparison.json is missing or damaged." in Page(html_of(tmp_path)).text
    with pytest.raises(ValueError, match=r"is not a folder; give the one that holds comparison\.json"):
        write_comparison_page(tmp_path / "absent")


def test_a_run_that_was_moved_away_is_told(copy):
    shutil.rmtree(copy.parent / "runs" / "museg-3b")
    html = html_of(copy)
    assert "samples.jsonl: 1 × run without samples (" in Page(html).text
    assert {sample["a"][0] for sample in data_of(html)["samples"]} == {None}


def test_damage_is_counted(copy):
    samples = copy.parent / "runs" / "museg-7b" / "charades_sta" / "samples.jsonl"
    samples.write_bytes(samples.read_bytes()[:-40] + b"\xff")
    assert "samples.jsonl: 1 × line without a JSON object" in Page(html_of(copy)).text


@pytest.mark.parametrize("key", ["runs", "num_resamples", "seed", "num_samples", "metrics", "published"])
def test_any_value_in_any_place_gives_a_page(copy, key):
    comparison = json.loads((copy / "comparison.json").read_text(encoding="utf-8"))
    nested = [{"name": {}, "folders": {"a": 7, "b": []}}, {"estimates": [{"value": "x"}, 7], "differences": {"low": 1}}]
    for value in [None, 7, "text", [], [7, None], {}, True, [nested], nested, [{"benchmark": ["x"], "value": 1}]]:
        (copy / "comparison.json").write_text(json.dumps(comparison | {key: value}), encoding="utf-8")
        assert "folder" in Page(html_of(copy)).ids


def test_metrics_with_published_numbers_stand_among_the_first():
    def metric(name, **more):
        return {"benchmark": "thumos14", "section": "official", "name": name, "estimates": [{"value": 0.5}], **more}

    metrics = [metric("m_iou", is_headline=True), metric("f1_multi_0.5"), metric("mean_f1_multi")]
    metrics += [metric("m_iou", group="tal"), metric("mAP", group="all", section="field")]
    number = {"model": "M", "benchmark": "thumos14", "section": "official", "name": "mean_f1_multi", "value": 0.3}
    (table,) = benchmark_tables({"metrics": metrics, "published": [number]})
    assert [row.name for row in table.headline] == ["m_iou", "mean_f1_multi"]
    assert [row.name for row in table.other] == ["f1_multi_0.5"]
    assert table.groups == ()  # each section is in one group only, which is the whole benchmark
    (table,) = benchmark_tables({"metrics": [*metrics, metric("m_iou", group="tvg")]})
    assert [(group, [row.name for row in rows]) for group, rows in table.groups] == [
        ("tal", ["m_iou"]),
        ("tvg", ["m_iou"]),
    ]
