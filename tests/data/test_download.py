import hashlib
import json
import random
from collections import namedtuple

import pytest

from museg.data import download as downloading
from museg.data.download import download
from museg.data.sources import Pin
from tests.data import archive_server

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    with archive_server.running() as running:
        yield running


def fetched(url, target, **settings):
    return download(url, target, wait_s=0.001, **settings)


def test_returns_size_and_digest_of_what_it_wrote(server, tmp_path):
    url, seen = server.offer("a.zip", CONTENT), []
    found = fetched(url, tmp_path / "deep" / "a.zip", progress=lambda *told: seen.append(told))
    assert found == Pin(3_000_000, SHA256)
    assert (tmp_path / "deep" / "a.zip").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.zip"]
    # 1 MiB at a time: 1048576, 2097152, 3000000; then the same steps while the digest is taken
    assert seen[2] == ("a.zip", 3_000_000, 3_000_000)
    assert seen[-1] == ("checking a.zip", 3_000_000, 3_000_000)


def test_broken_transfer_goes_on_where_it_ended(server, tmp_path):
    url = server.offer("a.zip", CONTENT, cut_after_bytes=[1_000_000, 500_000])
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=1000000-", "bytes=1500000-"]


def test_next_call_goes_on_after_one_that_gave_up(server, tmp_path):
    url = server.offer("a.zip", CONTENT, cut_after_bytes=[1_000_000, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="1000000 bytes are kept, the next call goes on from there"):
        fetched(url, tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()
    server.files["a.zip"].cut_after_bytes.clear()
    server.asked.clear()
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges() == ["bytes=1000000-"]


def test_server_that_knows_no_ranges_sends_everything_again(server, tmp_path):
    url = server.offer("a.zip", CONTENT, honours_range=False, cut_after_bytes=[2_000_000])
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges() == [None, "bytes=2000000-"]


def test_changed_file_is_not_mixed_with_its_old_beginning(server, tmp_path):
    url = server.offer("a.zip", CONTENT, cut_after_bytes=[1_000_000, 0, 0, 0, 0, 0, 0])
    with pytest.raises(ValueError, match="connection ended"):
        fetched(url, tmp_path / "a.zip")
    server.offer("a.zip", CONTENT[::-1], version='"2"')
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("note", ["", "[]", '{"url": "http://elsewhere/a.zip", "num_bytes": 9, "version": null}'])
def test_part_without_a_fitting_description_is_dropped(server, tmp_path, note):
    url = server.offer("a.zip", CONTENT)
    (tmp_path / "a.zip.part").write_bytes(b"something else")
    (tmp_path / "a.zip.part.json").write_text(note)
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges() == [None]


def test_part_that_is_longer_than_the_file_starts_over(server, tmp_path):
    url = server.offer("a.zip", CONTENT)
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"url": url, "num_bytes": len(CONTENT), "version": '"1"'}))
    fetched(url, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.ranges() == ["bytes=3000004-", None]


def test_wrong_checksum_keeps_nothing(server, tmp_path):
    url = server.offer("a.zip", CONTENT)
    with pytest.raises(ValueError, match=f"SHA-256 {SHA256} where {'0' * 64} is expected; nothing was kept"):
        fetched(url, tmp_path / "a.zip", pin=Pin(len(CONTENT), "0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_wrong_size_is_seen_before_anything_is_received(server, tmp_path):
    url = server.offer("a.zip", CONTENT)
    with pytest.raises(ValueError, match="has 3000000 bytes now where 17 are expected"):
        fetched(url, tmp_path / "a.zip", pin=Pin(17, None))
    assert list(tmp_path.iterdir()) == []


def test_length_may_be_untold(server, tmp_path):
    url = server.offer("a.zip", CONTENT, tells_length=False, version="")
    assert fetched(url, tmp_path / "a.zip") == Pin(3_000_000, SHA256)


def test_untold_length_does_not_hide_a_loss_from_the_pin(server, tmp_path):
    url = server.offer("a.zip", CONTENT, tells_length=False, cut_after_bytes=[10])
    with pytest.raises(ValueError, match="has 10 bytes where 3000000 are expected"):
        fetched(url, tmp_path / "a.zip", pin=Pin(3_000_000, SHA256))


def test_refusal_is_final_and_a_passing_fault_is_not(server, tmp_path):
    with pytest.raises(ValueError, match="the server answered 404"):
        fetched(server.url("nowhere.zip"), tmp_path / "a.zip")
    assert len(server.asked) == 1
    url = server.offer("a.zip", CONTENT, statuses=[503, 429])
    fetched(url, tmp_path / "a.zip")
    assert len(server.asked) == 4


def test_empty_file_and_absent_server(server, tmp_path):
    assert fetched(server.offer("empty", b""), tmp_path / "empty").num_bytes == 0
    server.close()
    with pytest.raises(ValueError, match="not downloaded"):
        fetched(server.url("empty"), tmp_path / "other")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "a.zip"])
def test_only_http_addresses_are_opened(url, tmp_path):
    with pytest.raises(ValueError, match="only http and https"):
        fetched(url, tmp_path / "a.zip")


def test_disk_that_is_too_small_is_told_before_it_is_full(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**6, 0, 10**6)
    monkeypatch.setattr(downloading.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ValueError, match="make room or choose another root"):
        fetched(server.offer("a.zip", CONTENT), tmp_path / "a.zip")
