import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from museg.commands.prepare import Arguments, main, understood
from museg.commands.prepare_data import annotated
from museg.data.sources import preparations, read_preparations
from tests.data import archive_server
from tests.data.made_archives import zipped
from tests.shared import ANNOTATIONS, require
from tests.video import made_files

REPOSITORY = Path(__file__).resolve().parents[2]
BENCHMARKS = REPOSITORY / "conf" / "benchmark"


@pytest.fixture
def published(tmp_path):
    """Everything that can be prepared, with the sources of perception_test served on this machine."""
    clip = made_files.numbered_mp4(tmp_path / "clip.mp4").read_bytes()
    rows = [{"video": f"perception_test/{name}.mp4", "question": "When?", "groundtruth": [[0, 1]]} for name in "ab"]
    terms = {"licence": "none", "origin": "http://x"}
    with archive_server.running() as server:
        rows_url = server.offer("perception_test.json", json.dumps(rows).encode())
        archive = zipped(tmp_path / "archive", {"valid/a.mp4": clip, "valid/b.mp4": clip})
        videos_url = server.offer("valid.zip", archive.read_bytes())
        sources = {
            "rows": {"url": rows_url, "to": "annotations/perception_test.json", **terms},
            "videos": {"url": videos_url, "to": "videos/perception_test", "unpack": "flat", **terms},
        }
        wanted = {"annotations": ["rows"], "videos": ["videos"]}
        described = {"sources": sources, "preparations": {"benchmark": {"perception_test": wanted}, "dataset": {}}}
        yield server, read_preparations(described)


def test_benchmark_is_made_ready(published, tmp_path, capsys):
    server, known = published
    words = ["benchmark=perception_test", f"root={tmp_path / 'data'}", "workers=1", "reencode=museg"]
    server.files["valid.zip"].cut_after_bytes = [100]
    assert main(words, known) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 annotated ones are there, 0 cannot be decoded" in printed
    assert printed.endswith("ready\n")
    assert (tmp_path / "data" / "videos_museg" / "perception_test" / "a.mp4").is_file()
    server.asked.clear()
    assert main(words, known) == 0
    assert server.asked == []


def test_what_lacks_is_told_with_exit_status_1(published, tmp_path, capsys):
    server, known = published
    server.files["perception_test.json"].content = json.dumps(
        [{"video": "perception_test/c.mp4", "question": "When?", "groundtruth": [[0, 1]]}]
    ).encode()
    assert main(["benchmark=perception_test", f"root={tmp_path / 'data'}", "check=false"], known) == 1
    printed = capsys.readouterr().out
    assert "missing     perception_test/c.mp4" in printed
    assert "not ready" in printed
    assert str(tmp_path / "data" / "checks" / "benchmark_perception_test_problems.jsonl") in printed


def test_broken_annotation_is_told_with_file_and_row(published, tmp_path, capsys):
    server, known = published
    server.files["perception_test.json"].content = b'[{"video": "../a.mp4"}]'
    assert main(["benchmark=perception_test", f"root={tmp_path / 'data'}"], known) == 1
    printed = capsys.readouterr().out
    assert "perception_test.json" in printed
    assert "row 0" in printed


def test_dry_run_touches_neither_disk_nor_network(published, tmp_path, capsys):
    server, known = published
    assert main(["benchmark=perception_test", f"root={tmp_path / 'data'}", "dry_run=true"], known) == 1
    printed = capsys.readouterr().out
    assert f"would download {server.url('valid.zip')}" in printed
    assert server.asked == []
    assert not (tmp_path / "data").exists()


def test_dry_run_tells_by_hand_sources(tmp_path, capsys):
    assert main(["benchmark=activitynet_captions", f"root={tmp_path}", "dry_run=true"]) == 1
    assert "by hand" in (printed := capsys.readouterr().out)
    assert "request form" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark=charades"], "unknown benchmark 'charades'; there are charades_sta, .* Did you mean charades_sta"),
        (["dataset=musge"], "Did you mean museg"),
        (["benchmrk=thumos14"], "unknown argument 'benchmrk'.* Did you mean benchmark"),
        (["benchmark=thumos14", "dataset=museg"], "one of them"),
        (["root=data"], "one of them"),
        (["thumos14"], "must be written key=value"),
        (["benchmark=thumos14", "benchmark=thumos15"], "given twice"),
        (["benchmark=thumos14", "reencode=mceo"], "Did you mean meco"),
        (["benchmark=thumos14", "check=yes"], "true or false"),
        (["benchmark=thumos14", "workers=0"], "whole number from 1"),
        (["benchmark=thumos14", "workers=²"], "whole number from 1"),
    ],
)
def test_words_that_mean_nothing_get_a_hint(words, message):
    with pytest.raises(ValueError, match=message):
        understood(words, preparations())


def test_words_are_understood():
    asked = understood(["dataset=museg", "root=/disk", "check=false", "workers=3"], preparations())
    assert asked == Arguments(preparations()["dataset"]["museg"], Path("/disk"), check=False, workers=3)


@pytest.mark.parametrize("kind", ["benchmark", "dataset"])
@pytest.mark.parametrize("name", ["synthetic", "jsonl"])
def test_what_needs_no_download_says_why(kind, name, capsys):
    assert main([f"{kind}={name}"]) == 0
    assert capsys.readouterr().out.startswith(f"{kind} {name}: it")


def read_option(file: Path) -> dict:
    """A benchmark's settings, those of the benchmark that it builds on included."""
    described = yaml.safe_load(file.read_text(encoding="utf-8"))
    below = [BENCHMARKS / f"{name}.yaml" for name in described["defaults"] if isinstance(name, str)]
    return {key: value for base in below if base.exists() for key, value in read_option(base).items()} | described


@pytest.mark.parametrize("file", sorted(BENCHMARKS.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_benchmark_finds_its_files_where_they_are_put(file):
    described = read_option(file)
    wanted = preparations()["benchmark"][file.stem]
    if wanted.nothing_to_fetch is not None:
        return
    put = {place for source in wanted.annotations for place in source.places(Path())}
    read = {described["distributed"], described.get("distributed_subset")} - {None}
    assert {Path("annotations") / name for name in read} == put
    assert all(Path(source.to).is_relative_to(described["video_folder"]) for source in wanted.videos)


@pytest.mark.parametrize(
    ("kind", "name", "files", "num_videos"),
    [
        ("benchmark", "charades_sta", ["eval/charades_sta.json"], 1334),
        ("benchmark", "thumos14", ["eval/thumos14.json"], 200),
        ("benchmark", "thumos15", ["eval/thumos15.json"], 412),
        # 5,010 and 6,102 videos, of which 1,036 are the same
        ("dataset", "museg", ["train/stage_1.jsonl", "train/stage_2.jsonl"], 10_076),
    ],
)
def test_videos_of_the_published_annotations_have_an_archive_each(tmp_path, kind, name, files, num_videos):
    (tmp_path / "annotations").mkdir()
    for file in files:
        (tmp_path / "annotations" / Path(file).name).symlink_to(require(ANNOTATIONS / file))
    wanted = preparations()[kind][name]
    named = annotated(wanted, tmp_path)
    assert len(named.videos) == num_videos
    folders = [tmp_path / source.to for source in wanted.videos]
    assert all(named.place(video).parent in folders for video in named.videos)


def test_program_explains_itself():
    command = [sys.executable, "-m", "museg.commands.prepare"]
    done = subprocess.run([*command, "--help"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0
    assert "benchmark=NAME or dataset=NAME" in done.stdout
    done = subprocess.run([*command, "benchmark=nothing"], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: unknown benchmark")
