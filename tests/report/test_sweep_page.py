import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from museg.commands.report import main
from museg.report.sweep_page import write_sweep_report
from tests.report.invented_run import HOSTILE
from tests.report.invented_sweep import NOW_S, member_config, write_invented_sweep, write_member, write_plan
from tests.report.parsed_page import Page


def report(folder, baseline=None) -> Page:
    return Page(write_sweep_report(folder, baseline, NOW_S).html.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = write_invented_sweep(tmp_path_factory.mktemp("sweep") / "sweep")
    return folder, write_sweep_report(folder, now_s=NOW_S)


@pytest.fixture(scope="module")
def page(finished) -> Page:
    return Page(finished[1].html.read_text(encoding="utf-8"))


def test_a_finished_sweep_has_every_section(finished, page):
    sections = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert sections == ["results", "curves", "members", "folder"]
    assert "12 of 12 members finished." in page.text
    assert "unfinished" not in page.ids and "defects" not in page.ids
    assert len(set(page.ids)) == len(page.ids)
    assert {path.name for path in finished[0].iterdir() if path.is_file()} == {
        "sweep.json",
        "sweep.html",
        "sweep.csv",
        "sweep_members.csv",
    }


def test_it_needs_nothing_from_outside_and_links_lead_somewhere(finished, page):
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "image", "base"}
    for _, attributes in page.tags:
        assert "src" not in attributes and not any(name.startswith("on") for name in attributes)
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert "3_reward-maximum_seed-0/report.html" in links and "sweep.csv" in links
    for link in links:
        assert link.removeprefix("#") in page.ids if link.startswith("#") else (finished[0] / link).exists()


def test_pictures_are_on_the_page_and_stale_ones_go(finished, page):
    folder, written = finished
    on_page = {attributes["id"] for _, attributes in page.tags if "picture" in (attributes.get("class") or "").split()}
    assert {png.stem for png in written.pngs} == on_page
    first = written.html.read_bytes()
    (folder / "figures" / "sweep_old.png").write_bytes(b"of an earlier page")
    assert write_sweep_report(folder, now_s=NOW_S).html.read_bytes() == first
    assert {png.name for png in (folder / "figures").iterdir()} == {png.name for png in written.pngs}


def test_a_half_finished_sweep_says_so_and_counts_what_is_there(tmp_path):
    folder = write_invented_sweep(tmp_path / "sweep", num_members=5)
    write_member(folder / "5_reward-maximum_seed-2", member_config(2, "maximum"), 0.1, steps_done=9, age_s=3)
    failed = write_member(folder / "6_reward-global_only_seed-0", member_config(0, "global_only"), 0.1, steps_done=9)
    (failed / "error.txt").write_text("ValueError: out of <b>luck</b>")
    os.utime(failed / "error.txt", (NOW_S, NOW_S))
    (failed / "slurm.log").write_text("the log of its job")
    shutil.rmtree(folder / "1_reward-sequential_seed-1")
    page = report(folder)
    assert "4 of 12 members finished." in page.text
    assert "This sweep is not finished: 1 running, 1 failed, 6 not started." in page.text
    assert "ValueError: out of <b>luck</b>" in page.text
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert [link for link in links if "slurm.log" in link] == ["6_reward-global_only_seed-0/slurm.log"]
    assert "2 of 3" in page.text  # seeds of sequential and of maximum that count


@pytest.mark.parametrize("left", [(), ("metrics.csv",), ("summary.json",)])
def test_members_that_lost_files_are_no_end(tmp_path, left):
    folder = write_invented_sweep(tmp_path / "sweep", num_members=6)
    for name in ("config.yaml", "metrics.csv", "summary.json"):
        if name not in left:
            (folder / "4_reward-maximum_seed-1" / name).unlink()
    page = report(folder)
    assert "reward=maximum" in page.text
    assert ("5 of 12 members" in page.text) == ("summary.json" not in left)


def test_nothing_finished_yet(tmp_path):
    write_plan(tmp_path, [{"seed": seed} for seed in range(3)])
    page = report(tmp_path)
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"] == ["members", "folder"]
    assert "0 of 3 members finished. Too few members are finished" in page.text


def test_hostile_members_are_shown_and_do_nothing(tmp_path):
    folder = tmp_path / "sweep"
    evil = "<script>window.owned=1</script>"
    for number, text in enumerate([*HOSTILE, "sequential"]):
        name = f"{number}_{evil.replace('/', '')} {number}" if number else "0_\"><img src=x onerror='x'>"
        member = write_member(folder / name, member_config(number % 3), 0.1)
        config = member_config(number % 3) | {"name": text, "reward": {text: {"_target_": text}}, text: [text]}
        (member / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        summary = json.loads((member / "summary.json").read_text())
        summary["held_out"]["plain"] |= {text: 0.5, "mean_iou": "<b>", "sampled": {text: 1e300, "recall@0.3": 0.1}}
        (member / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    failed = write_member(folder / "9_x", member_config(0), 0.1, steps_done=3)
    (failed / "error.txt").write_bytes(b"\xff\xfe" + evil.encode() + b"\x1b[2J")
    os.utime(failed / "error.txt", (NOW_S, NOW_S))
    write_plan(folder, [{"reward": evil, HOSTILE[1]: HOSTILE[3], "seed": evil} for _ in range(12)])
    page = report(folder)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b0"}
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    assert evil in page.text and "\x1b" not in page.text
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert not any("<" in link or "javascript" in link for link in links)


def test_the_command(finished, tmp_path):
    folder = shutil.copytree(finished[0], tmp_path / "copy")
    command = [sys.executable, "-m", "museg.commands.report"]
    done = subprocess.run([*command, f"sweep={folder}", "baseline=reward=maximum"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "| reward=maximum | 3 |" in done.stdout and str(folder / "sweep.html") in done.stdout
    page = Page((folder / "sweep.html").read_text(encoding="utf-8"))
    assert "the difference to reward=maximum , paired by seed" in page.text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (["sweep={empty}"], "holds no runs"),
        (["sweep={sweep}", "baseline=x"], "choose one of reward=sequential; reward=maximum"),
        (["{sweep}", "baseline=x"], "must be written key=value"),
        (["{sweep}"], "holds runs and is none itself; give one of them, or all of them as sweep="),
        (["swep={sweep}"], "Did you mean sweep?"),
        (["baseline=x"], "several as sweep=[A,B]"),
        (["sweep=[{sweep},]"], "several as sweep=[A,B]"),
    ],
)
def test_the_command_says_what_is_wrong(finished, tmp_path, capsys, wrong, told):
    before = sorted((finished[0] / "figures").iterdir())
    assert main([argument.format(empty=tmp_path, sweep=finished[0]) for argument in wrong]) == 2
    assert told in capsys.readouterr().err
    assert sorted((finished[0] / "figures").iterdir()) == before and not (finished[0] / "report.html").exists()


def test_several_sweeps_on_one_page_elsewhere(tmp_path, capsys):
    for number, name in enumerate(("one", "other")):
        for seed in (0, 1 + number):
            write_member(tmp_path / name / f"{seed}_x", member_config(seed), 0.1)
    assert main([f"sweep=[{tmp_path / 'one'},{tmp_path / 'other'}]", f"output={tmp_path / 'all'}"]) == 0
    assert "| every run | 3 |" in capsys.readouterr().out  # seed 0 is in both, and counts once
    assert {path.name for path in tmp_path.iterdir()} == {"one", "other", "all"}
    assert not list(tmp_path.glob("o*/sweep*"))
    page = Page((tmp_path / "all" / "sweep.html").read_text(encoding="utf-8"))
    assert "sources" in page.ids and "have different numbers" not in page.text
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert "../other/2_x/report.html" in links
    assert all((tmp_path / "all" / link).exists() for link in links if not link.startswith("#"))
