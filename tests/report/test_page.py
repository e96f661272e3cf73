import json
import shutil
import subprocess
import sys

import pytest

from museg.report.page import write_report
from museg.report.rendering import segments_text
from museg.temporal.segments import Segment
from tests.report.invented_run import write_invented_run
from tests.report.parsed_page import Page


def report(run_dir) -> Page:
    return Page(write_report(run_dir).html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(finished_run, tmp_path_factory):
    run_dir = shutil.copytree(finished_run, tmp_path_factory.mktemp("page") / "run")
    return run_dir, write_report(run_dir)


def test_a_finished_run_has_every_section(finished):
    run_dir, written = finished
    page = Page(written.html.read_text(encoding="utf-8"))
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["results", "curves", "cold-start", "timelines", "completions", "quarantine", "folder"]
    assert written.html == run_dir / "report.html"
    assert "unfinished" not in page.ids
    assert "defects" not in page.ids
    assert "moov atom not found" in page.text
    assert len(set(page.ids)) == len(page.ids)


def test_every_picture_of_the_page_is_a_png_too(finished):
    run_dir, written = finished
    page = Page(written.html.read_text(encoding="utf-8"))
    on_page = {attributes["id"] for _, attributes in page.tags if "picture" in (attributes.get("class") or "").split()}
    assert {png.stem for png in written.pngs} == on_page
    assert {png.name for png in written.pngs} == {png.name for png in (run_dir / "figures").iterdir()}
    assert all(png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 3000 for png in written.pngs)


def test_the_page_needs_nothing_from_outside(finished):
    page = Page(finished[1].html.read_text(encoding="utf-8"))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "image", "base"}
    for _, attributes in page.tags:
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        assert "://" not in (attributes.get("href") or "")


def test_links_lead_to_files_of_the_run(finished):
    run_dir, written = finished
    page = Page(written.html.read_text(encoding="utf-8"))
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    for link in links:
        assert link.removeprefix("#") in page.ids if link.startswith("#") else (run_dir / link).exists()
    assert "metrics.csv" in links


def test_writing_it_again_gives_the_same_page_and_no_stale_picture(finished):
    run_dir, written = finished
    first = written.html.read_bytes()
    (run_dir / "figures" / "timeline_99.png").write_bytes(b"from an earlier, longer run")
    assert write_report(run_dir).html.read_bytes() == first
    assert not (run_dir / "figures" / "timeline_99.png").exists()


def test_hostile_texts_are_shown_and_do_nothing(tmp_path):
    page = report(write_invented_run(tmp_path / "run", hostile=True))
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img"}
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    assert "</script><script>window.owned=1</script>" in page.text
    assert '"><img src=x onerror="window.owned=2">' in page.text
    assert "$\\frac{1}{2$ {{ 7*7 }} {% raw %} ]]> &amp;" in page.text
    assert "all 1600 characters" in page.text  # 40 times 40 characters, clipped and unfolding


def test_an_empty_folder_is_said_to_be_one(tmp_path):
    page = report(tmp_path)
    assert "This run is not finished: summary.json is missing" in page.text
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == ["folder"]


@pytest.mark.parametrize("missing", ["config.yaml", "metrics.csv", "summary.json", "predictions", "completions.jsonl"])
def test_any_one_missing_part_shortens_the_page(copy_of_run, missing):
    run_dir = copy_of_run()
    shutil.rmtree(run_dir / missing) if (run_dir / missing).is_dir() else (run_dir / missing).unlink()
    page = report(run_dir)
    assert missing not in [attributes.get("href") for _, attributes in page.tags]
    section = {"metrics.csv": "curves", "predictions": "timelines", "completions.jsonl": "completions"}.get(missing)
    assert section not in page.ids
    assert ("unfinished" in page.ids) == (missing == "summary.json")


def test_damage_is_counted_on_the_page(copy_of_run):
    run_dir = copy_of_run()
    with (run_dir / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("901,plain,tr")
    with (run_dir / "completions.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 900, "text": "cut sh')
    with (run_dir / "predictions" / "plain.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"example_id": "x", "mode": "greedy", "iou": NaN, "targets": [[0, Infinity]]}\n')
    page = report(run_dir)
    assert "metrics.csv: 1 × row of the wrong width" in page.text
    assert "completions.jsonl: 1 × line without a JSON object" in page.text
    assert "plain.jsonl: 2 × non-finite number" in page.text


def test_supervised_training_has_no_reward_panels(copy_of_run):
    run_dir = copy_of_run()
    lines = (run_dir / "metrics.csv").read_text(encoding="utf-8").splitlines()
    keys = lines[0].split(",")
    kept = [place for place, key in enumerate(keys) if not key.startswith(("reward/", "loss/kl", "time/rollout"))]
    rows = [",".join(line.split(",")[place] for place in kept) for line in lines]
    (run_dir / "metrics.csv").write_text("\n".join(rows), encoding="utf-8")
    page = report(run_dir)
    assert "curve_loss" in page.ids
    assert not {"curve_reward", "curve_reward_terms", "curve_kl", "curve_signal"} & set(page.ids)


def test_a_single_phase(tmp_path):
    page = report(write_invented_run(tmp_path / "run", phases=(("plain", 0, 60),)))
    assert "unfinished" not in page.ids
    assert "over 60 steps" in page.text


def test_a_huge_log_stays_a_small_page(tmp_path):
    page = ["step,phase,kind,cold_start_step,reward/total,loss/kl"]
    page += [f"{step},only,train,,{step % 97},{1e12 if step == 5000 else 0.1}" for step in range(1, 60_001)]
    (tmp_path / "metrics.csv").write_text("\n".join(page), encoding="utf-8")
    assert write_report(tmp_path).html.stat().st_size < 400_000


def test_segments_are_listed_briefly():
    assert segments_text([Segment(1.0, 2.5), Segment(4.0, 6.0)]) == "1–2.5, 4–6"
    assert segments_text([Segment(0.0, 1.0)] * 30).endswith(", … (30 segments)")


def test_the_report_needs_neither_torch_nor_a_training_framework(finished_run, tmp_path):
    code = (
        "import json, pathlib, sys; from museg.report.page import write_report; "
        "write_report(pathlib.Path(sys.argv[1])); print(json.dumps(sorted(sys.modules)))"
    )
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    done = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "lightning", "transformers", "hydra", "omegaconf", "scipy"}


def test_the_command(copy_of_run, tmp_path):
    command = [sys.executable, "-m", "museg.commands.report"]
    done = subprocess.run([*command, str(copy_of_run())], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert str(tmp_path / "copy" / "report.html") in done.stdout
    failed = subprocess.run([*command, str(tmp_path / "absent")], capture_output=True, text=True)
    assert failed.returncode == 2
    assert "is not a folder" in failed.stderr
    assert "Traceback" not in failed.stderr
