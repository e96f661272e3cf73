"""Small real archives, a real server, and what comes of a preparation."""

import fcntl
import json
from functools import partial
from pathlib import Path

import pytest

from museg.data.fetching import Records
from museg.data.preparation import LOCK, Annotated, Outcome, prepare
from museg.data.sources import Preparation, read_preparations
from tests.data import archive_server
from tests.data.made_archives import tarred, zipped
from tests.video import made_files

VIDEOS = ("one/a.mp4", "one/b.mp4", "two/c.mp4")


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    return made_files.numbered_mp4(tmp_path_factory.mktemp("clip") / "clip.mp4").read_bytes()


@pytest.fixture
def server(tmp_path, clip):
    with archive_server.running() as running:
        running.offer("rows.json", json.dumps([{"video": video} for video in VIDEOS]).encode())
        one = zipped(tmp_path / "one", {"packed/a.mp4": clip, "packed/b.mp4": clip})
        running.offer("one.zip", one.read_bytes())
        running.offer("two.tar.gz", tarred(tmp_path / "two", {"two/c.mp4": clip}).read_bytes())
        yield running


def preparation(server, **two) -> Preparation:
    common = {"licence": "none", "origin": "http://x"}
    described = {
        "sources": {
            "rows": {"url": server.url("rows.json"), "to": "annotations/rows.json", **common},
            "one": {"url": server.url("one.zip"), "to": "videos/one", "unpack": "flat", **common},
            "two": {"to": "videos/two", **common, **(two or {"url": server.url("two.tar.gz"), "unpack": "tree"})},
        },
        "preparations": {"benchmark": {"small": {"annotations": ["rows"], "videos": ["one", "two"]}}},
    }
    return read_preparations(described)["benchmark"]["small"]


def read_rows(root: Path) -> Annotated:
    rows = json.loads((root / "annotations" / "rows.json").read_text())
    return Annotated(tuple(row["video"] for row in rows), root / "videos")


def prepared(server, root: Path, wanted: Preparation | None = None, **settings) -> Outcome:
    settings = {"reencode": None, "check": True, "num_workers": 1, "timeout_s": 60, **settings}
    return prepare(wanted or preparation(server), root, partial(read_rows, root), **settings)


def asked_for(server) -> list[str]:
    names = [path for path, _ in server.asked]
    server.asked.clear()
    return names


def test_fetches_unpacks_and_checks_everything(server, tmp_path, clip):
    outcome = prepared(server, tmp_path / "data")
    assert outcome.is_complete
    assert outcome.inventory.num_videos == 3
    assert all((tmp_path / "data" / "videos" / video).read_bytes() == clip for video in VIDEOS)
    assert asked_for(server) == ["rows.json", "one.zip", "two.tar.gz"]
    rows = json.loads((tmp_path / "data" / "downloads.json").read_text())
    record = rows[server.url("one.zip")]
    assert record["num_bytes"] == len(server.files["one.zip"].content)
    assert record["is_unpacked"]


def test_second_call_downloads_nothing(server, tmp_path):
    prepared(server, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.name != LOCK}
    asked_for(server)
    assert prepared(server, tmp_path).is_complete
    assert asked_for(server) == []
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_archive_whose_videos_are_there_is_not_needed(server, tmp_path, clip):
    (tmp_path / "videos" / "one").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "videos" / "one" / name).write_bytes(clip)
    assert prepared(server, tmp_path).is_complete
    assert asked_for(server) == ["rows.json", "two.tar.gz"]


def test_missing_and_broken_videos_end_in_a_list(server, tmp_path, clip):
    server.offer("one.zip", zipped(tmp_path / "lame", {"a.mp4": clip[: len(clip) // 2]}).read_bytes())
    outcome = prepared(server, tmp_path / "data")
    assert not outcome.is_complete
    assert outcome.inventory.missing == ("one/b.mp4",)
    assert list(outcome.inventory.unreadable) == ["one/a.mp4"]
    listed = [json.loads(line)["video"] for line in outcome.problems_file.read_text().splitlines()]
    assert listed == ["one/b.mp4", "one/a.mp4"]
    # the archive was unpacked, b.mp4 is not in it: fetching it again would not help
    asked_for(server)
    prepared(server, tmp_path / "data")
    assert asked_for(server) == []


def test_without_check_nothing_is_decoded(server, tmp_path):
    server.offer("one.zip", zipped(tmp_path / "lame", {"a.mp4": b"no", "b.mp4": b"video"}).read_bytes())
    assert prepared(server, tmp_path / "data", check=False).is_complete


def test_source_that_fails_leaves_the_others_to_be_fetched(server, tmp_path):
    server.files.pop("one.zip")
    outcome = prepared(server, tmp_path)
    assert len(outcome.failures) == 1
    assert outcome.failures[0].startswith("one: ")
    assert "404" in outcome.failures[0]
    assert outcome.inventory.missing == ("one/a.mp4", "one/b.mp4")
    assert (tmp_path / "videos" / "two" / "c.mp4").is_file()


def test_archive_may_be_put_where_its_download_would_be(server, tmp_path):
    archive = server.files.pop("one.zip").content
    assert str(tmp_path / "downloads" / "one" / "one.zip") in prepared(server, tmp_path).failures[0]
    (tmp_path / "downloads" / "one" / "one.zip").write_bytes(archive)
    assert prepared(server, tmp_path).is_complete


def test_archive_that_writes_outside_harms_nobody(server, tmp_path, clip):
    trap = zipped(tmp_path / "trap", {"a.mp4": clip, "../../../evil.mp4": clip})
    server.offer("one.zip", trap.read_bytes())
    outcome = prepared(server, tmp_path / "data")
    assert "outside the folder" in outcome.failures[0]
    assert not list(tmp_path.rglob("evil.mp4"))
    assert outcome.inventory.missing == ("one/a.mp4", "one/b.mp4")


def test_annotations_that_cannot_be_had_end_the_preparation(server, tmp_path):
    server.files["rows.json"].content = b"no json"
    outcome = prepared(server, tmp_path)
    assert outcome.inventory is None
    assert not outcome.is_complete
    assert asked_for(server) == ["rows.json"]
    assert len(outcome.failures) == 1


def test_annotation_that_changed_since_its_download_is_told(server, tmp_path):
    prepared(server, tmp_path)
    (tmp_path / "annotations" / "rows.json").write_text("[]")
    outcome = prepared(server, tmp_path)
    assert "has 2 bytes where" in outcome.failures[0]
    assert "delete it to download it again" in outcome.failures[0]
    assert not outcome.is_complete


def test_file_that_changed_at_its_origin_is_not_taken_silently(server, tmp_path):
    prepared(server, tmp_path)
    (tmp_path / "annotations" / "rows.json").unlink()
    server.files["rows.json"].content += b" "
    outcome = prepared(server, tmp_path)
    assert "bytes now where" in outcome.failures[0]
    assert "remove the file's entry from downloads.json" in outcome.failures[0]


def test_what_must_be_fetched_by_hand_is_told_while_it_lacks(server, tmp_path, clip):
    wanted = preparation(server, by_hand="They send it on request.")
    outcome = prepared(server, tmp_path, wanted)
    assert [source.by_hand for source in outcome.by_hand] == ["They send it on request."]
    assert not outcome.is_complete
    (tmp_path / "videos" / "two").mkdir()
    (tmp_path / "videos" / "two" / "c.mp4").write_bytes(clip)
    outcome = prepared(server, tmp_path, wanted)
    assert outcome.is_complete
    assert outcome.by_hand == []


def test_copies_are_made_of_what_is_readable(server, tmp_path, clip):
    server.offer("one.zip", zipped(tmp_path / "lame", {"a.mp4": clip, "b.mp4": b"no"}).read_bytes())
    outcome = prepared(server, tmp_path / "data", reencode="meco")
    assert outcome.copies == tmp_path / "data" / "videos_meco"
    made = [str(file.relative_to(outcome.copies)) for file in sorted(outcome.copies.rglob("*.mp4"))]
    assert made == ["one/a.mp4", "two/c.mp4"]


def test_one_root_is_prepared_by_one_process_at_a_time(server, tmp_path):
    with (tmp_path / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="being prepared by another process"):
            prepared(server, tmp_path)
    assert prepared(server, tmp_path).is_complete


@pytest.mark.parametrize("content", ["{", "[]", '{"http://x": 3}', '{"http://x": {"size": 3}}'])
def test_records_that_cannot_be_read_are_told(tmp_path, content):
    (tmp_path / "downloads.json").write_text(content)
    with pytest.raises(ValueError, match=r"downloads\.json cannot be read"):
        Records(tmp_path)
