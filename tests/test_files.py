import hashlib

import pytest

from museg.files import sha256_of, version_of, write_whole


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    file = tmp_path / "new" / "a.txt"
    assert write_whole(file, "one\n") == file
    write_whole(file, "zwei ü\n")
    assert file.read_text("utf-8") == "zwei ü\n"
    assert list(file.parent.iterdir()) == [file]


def test_what_utf8_cannot_hold_is_escaped(tmp_path):
    assert write_whole(tmp_path / "a.txt", "\ud800").read_text("utf-8") == "\\ud800"


def test_a_failed_write_keeps_the_old_file(tmp_path):
    file = write_whole(tmp_path / "a.txt", "old")
    with pytest.raises(TypeError):
        write_whole(file, 3)
    assert file.read_text() == "old"


def test_digest_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"museg" * 10_000)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"museg" * 10_000).hexdigest()


def test_versions():
    assert version_of("numpy")[0].isdigit()
    assert version_of("no-such-package") is None
