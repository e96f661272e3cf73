import json
import shutil

import pytest

from museg.report.evaluation_page import choose_samples, outcome, write_evaluation_page
from tests.report.invented_evaluation import HOSTILE, write_invented_evaluation, write_invented_rewards
from tests.report.parsed_page import Page


def report(folder) -> Page:
    return Page(write_evaluation_page(folder).html.read_text(encoding="utf-8"))


def sections(page: Page) -> list[str]:
    return [attributes["id"] for tag, attributes in page.tags if tag == "section"]


@pytest.fixture(scope="module")
def charades(tmp_path_factory):
    folder = write_invented_evaluation(tmp_path_factory.mktemp("evaluation") / "charades")
    return folder, write_evaluation_page(folder)


@pytest.fixture
def copy(charades, tmp_path):
    return shutil.copytree(charades[0], tmp_path / "copy")


def test_an_evaluation_has_every_section(charades):
    folder, written = charades
    page = Page(written.html.read_text(encoding="utf-8"))
    assert sections(page) == ["scores", "failures", "timelines", "quarantine", "folder"]
    assert written.html == folder / "report.html"
    assert "defects" not in page.ids
    assert "charades_sta · museg-0.7" in page.text
    assert "3 samples had no answer in the file and count as failures." in page.text
    assert len(set(page.ids)) == len(page.ids)


def test_every_picture_of_the_page_is_a_png_too(charades):
    folder, written = charades
    page = Page(written.html.read_text(encoding="utf-8"))
    on_page = {attributes["id"] for _, attributes in page.tags if "picture" in (attributes.get("class") or "").split()}
    assert {png.stem for png in written.pngs} == on_page
    assert {png.name for png in written.pngs} == {png.name for png in (folder / "figures").iterdir()}
    charts = {"kinds", "counts", "boundaries", "iou_by_segment_length_s", "iou_by_num_segments", "iou_by_position"}
    assert {f"failure_{chart}" for chart in charts} <= on_page
    assert len([name for name in on_page if name.startswith("timeline_")]) == 10  # 3 best, 3 worst, 4 spread


def test_the_page_needs_nothing_from_outside(charades):
    page = Page(charades[1].html.read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "image", "base"}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    for link in links:
        assert link.removeprefix("#") in page.ids if link.startswith("#") else (charades[0] / link).exists()
    assert {"metrics.json", "samples.jsonl"} <= set(links)


def test_writing_it_again_gives_the_same_page(copy):
    first = write_evaluation_page(copy).html.read_bytes()
    (copy / "figures" / "failure_old.png").write_bytes(b"from an earlier evaluation")
    assert write_evaluation_page(copy).html.read_bytes() == first
    assert not (copy / "figures" / "failure_old.png").exists()


def test_a_benchmark_of_many_tasks_has_a_table_for_each_kind_of_task(tmp_path):
    page = report(write_invented_evaluation(tmp_path / "et", "et_bench"))
    assert "groups" in sections(page)
    assert {"tvg/charades_sta", "rar/perception_test", "accuracy"} <= set(page.text.split())


def test_hostile_texts_are_shown_and_do_nothing(tmp_path):
    page = report(write_invented_evaluation(tmp_path / "run", hostile=True))
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    for text in (*HOSTILE[:2], HOSTILE[3]):
        assert text in page.text


@pytest.mark.parametrize("hostile", [False, True])
def test_scored_completions(tmp_path, hostile):
    page = report(write_invented_rewards(tmp_path / "rewards", hostile))
    assert sections(page) == ["rewards", "folder"]
    assert "200 completions scored." in page.text
    assert "reward_totals" in page.ids


def test_an_empty_folder_is_said_to_be_one(tmp_path):
    page = report(tmp_path)
    assert "metrics.json is missing or damaged: the evaluation is not finished." in page.text
    assert sections(page) == ["folder"]


def test_no_folder(tmp_path):
    with pytest.raises(ValueError, match=r"is not a folder; give the folder that holds metrics.json"):
        write_evaluation_page(tmp_path / "absent")


@pytest.mark.parametrize(
    ("missing", "section"),
    [("metrics.json", "scores"), ("samples.jsonl", "timelines"), ("quarantine.jsonl", "quarantine")],
)
def test_any_one_missing_file_shortens_the_page(copy, missing, section):
    (copy / missing).unlink()
    page = report(copy)
    assert section not in sections(page)
    assert missing not in [attributes.get("href") for _, attributes in page.tags]


@pytest.mark.parametrize("file", ["metrics.json", "evaluation.json", "samples.jsonl", "quarantine.jsonl"])
def test_damage_is_counted_on_the_page(copy, file):
    content = (copy / file).read_bytes()
    if file != "samples.jsonl":
        (copy / "samples.jsonl").unlink()
    (copy / file).write_bytes(content[: len(content) // 2] + b"\xff\x00")
    assert f"{file}: 1 ×" in report(copy).text


WRONG = [None, 7, "text", [], [7, None], {}, {"a": [1]}, True, 1e400, [[["deep"]]]]


@pytest.mark.parametrize("key", ["scores", "groups", "headline", "failures", "notes", "num_samples", "benchmark"])
def test_any_value_in_any_place_gives_a_page(copy, key):
    metrics = json.loads((copy / "metrics.json").read_text(encoding="utf-8"))
    del metrics["failures"]  # drawing takes long
    (copy / "samples.jsonl").unlink()
    for value in WRONG:
        (copy / "metrics.json").write_text(json.dumps(metrics | {key: value}), encoding="utf-8")
        assert "folder" in sections(report(copy))


def test_values_of_the_wrong_kind_deeper_down(copy):
    metrics = json.loads((copy / "metrics.json").read_text(encoding="utf-8"))
    (copy / "samples.jsonl").unlink()
    for value in WRONG:
        failures = {key: value for key in metrics["failures"]}
        nested = {"failures": failures, "scores": {"official": value}, "groups": {"a": value, "b": {"official": value}}}
        nested["headline"] = [value, {"section": value, "name": value}]
        (copy / "metrics.json").write_text(json.dumps(metrics | nested), encoding="utf-8")
        assert "folder" in sections(report(copy))


def test_samples_are_chosen_by_the_rule_the_page_states(tmp_path):
    from museg.report.evaluation_folder import read_evaluation

    samples = read_evaluation(write_invented_evaluation(tmp_path / "run", num_samples=40)).samples
    chosen = choose_samples(samples)
    assert [timeline.why for timeline in chosen] == ["among the best"] * 3 + ["among the worst"] * 3 + [
        "evenly spread"
    ] * 4
    ranked = sorted(sample.iou for sample in samples)
    assert [timeline.example.iou for timeline in chosen[:3]] == ranked[-1:-4:-1]
    assert [timeline.example.iou for timeline in chosen[3:6]] == ranked[:3]
    assert len({timeline.example.example_id for timeline in chosen}) == 10
    assert len(choose_samples(samples[:2])) == 2


def test_the_outcome_in_a_sentence():
    # 41 of 3720 = 1.102 %
    assert outcome({"num_samples": 3720, "num_failed": 41}) == "3,720 answers, 41 of them not to be read (1.1 %)."
