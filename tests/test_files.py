import errno
import hashlib
import importlib
import linecache
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from museg.files import (
    identity_of,
    sha256_of,
    share_as_usual,
    sources_sha256,
    version_of,
    whole_folder,
    write_new,
    write_whole,
)


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "new" / "a.txt"
    assert write_whole(file, "one\n") == file
    write_whole(file, "zwei ü\n")
    assert file.read_text("utf-8") == "zwei ü\n"
    assert list(file.parent.iterdir()) == [file]


def outcome(folder: Path, number: int) -> str:
    """What becomes of one of several that claim the same file: its number, or that it is refused."""
    try:
        write_new(folder / "claimed", str(number))
    except FileExistsError:
        return "refused"
    return str(number)


def test_of_many_that_write_a_new_file_one_succeeds(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(partial(outcome, tmp_path), range(64)))
    assert outcomes.count("refused") == 63
    assert (tmp_path / "claimed").read_text() == outcomes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["claimed"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_one_succeeds_where_disks_have_no_hard_links(number, tmp_path, monkeypatch):
    at_once = threading.Barrier(8)

    def no_links(*_):
        raise OSError(number, "not on this disk")

    def looked_at_by_all(path, exists=Path.exists):
        """Whoever looks whether the file is there sees that it is not before anyone has made it."""
        found = exists(path)
        if path.name == "claimed":
            at_once.wait(5)
        return found

    monkeypatch.setattr("os.link", no_links)
    monkeypatch.setattr(Path, "exists", looked_at_by_all)
    with ThreadPoolExecutor(8) as threads:
        outcomes = sorted(threads.map(partial(outcome, tmp_path), range(8)))
    assert outcomes.count("refused") == 7
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("claimed", outcomes[0])]


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("os.link", full)
    with pytest.raises(OSError, match="full"):
        write_new(tmp_path / "claimed", "one")
    assert list(tmp_path.iterdir()) == []


def test_what_utf8_cannot_hold_is_escaped(tmp_path):
    assert write_whole(tmp_path / "a.txt", "\ud800").read_text("utf-8") == "\\ud800"


def test_a_failed_write_keeps_the_old_file(tmp_path):
    file = write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(TypeError):
        write_whole(file, 3)
    assert file.read_text() == "old"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_private_file_is_shared_as_new_ones_are(tmp_path, umask, mode):
    file = tmp_path / "weights.safetensors"
    file.touch(mode=0o600)
    before = os.umask(umask)
    try:
        share_as_usual(file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == mode and list(tmp_path.iterdir()) == [file]


def test_a_file_is_another_after_its_folder_was_renamed_and_not_after_one_was_made_beside_it(tmp_path):
    file = write_whole(tmp_path / "folder" / "a.txt", "a")
    before = identity_of(file)
    (file.parent / "b.txt").touch()
    assert identity_of(file) == before
    file.parent.rename(tmp_path / "other").rename(file.parent)
    assert identity_of(file) != before


def test_digest_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"museg" * 10_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"museg" * 10_000).hexdigest()


def test_the_digest_of_modules_is_that_of_their_texts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    texts = {"made_first": "VALUE = 1\n", "made_second": "VALUE = 2\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    first, second = (importlib.import_module(name) for name in texts)
    assert sources_sha256(first, second) == hashlib.sha256(b"VALUE = 1\nVALUE = 2\n").hexdigest()
    (tmp_path / "made_second.py").write_text("VALUE = 3  # another length\n")
    linecache.checkcache()
    assert sources_sha256(first, second) != hashlib.sha256(b"VALUE = 1\nVALUE = 2\n").hexdigest()


def test_versions():
    assert version_of("numpy")[0].isdigit()
    assert version_of("no-such-package") is None


def test_a_folder_appears_whole(tmp_path):
    with whole_folder(tmp_path / "new" / "a") as folder:
        (folder / "file").write_text("content")
        assert not (tmp_path / "new" / "a").exists()
    assert (tmp_path / "new" / "a" / "file").read_text() == "content"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="disk full"), whole_folder(tmp_path / "a") as folder:
        (folder / "file").write_text("half")
        raise OSError("disk full")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    write_whole(tmp_path / "a" / "mine", "mine")
    for taken in (tmp_path / "a", tmp_path / "a" / "mine"):
        with pytest.raises(ValueError, match="holds something already"), whole_folder(taken):
            raise AssertionError("nothing may be written")
    assert (tmp_path / "a" / "mine").read_text() == "mine"
