"""Entries come back as they were put or not at all, whatever happens to their files and to who writes them."""

import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest

from museg.data import disk_cache
from museg.data.disk_cache import HEAD_BYTES, DiskCache
from tests.shared import unavailable


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def payload(number: int, num_bytes: int = 1000) -> bytes:
    return (key(number).encode() * (num_bytes // 64 + 1))[:num_bytes]


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def num_bytes_in(folder: Path) -> int:
    return sum(item.stat().st_size for item in folder.iterdir())


def filled(folder: Path, count: int, max_bytes: int = 2**20) -> DiskCache:
    cache = DiskCache(folder, max_bytes)
    for number in range(count):
        cache.put(key(number), payload(number))
    return cache


def test_what_was_put_is_found_by_its_key_alone(tmp_path):
    cache = filled(tmp_path / "made" / "here", 3)
    assert [cache.get(key(number)) for number in range(3)] == [payload(number) for number in range(3)]
    assert cache.get(key(3)) is None
    cache.put(key(0), b"")
    assert cache.get(key(0)) == b""


def test_those_not_used_for_longest_leave(tmp_path):
    cache = filled(tmp_path, 3, max_bytes=3 * (1000 + HEAD_BYTES))
    assert cache.get(key(0))  # 1 is now the one used longest ago
    cache.put(key(3), payload(3))
    assert [cache.get(key(number)) is not None for number in range(4)] == [True, False, True, True]
    cache.put(key(4), payload(4, 2000))  # takes the room of two and their heads but one: 0, 2 and 3 were used in turn
    assert [cache.get(key(number)) is not None for number in range(5)] == [False, False, False, True, True]


def test_an_entry_larger_than_the_cache_drops_nothing(tmp_path):
    cache = filled(tmp_path, 2, max_bytes=3000)
    cache.put(key(2), payload(2, 3000 - HEAD_BYTES + 1))
    assert [cache.get(key(number)) is not None for number in range(3)] == [True, True, False]


def test_a_large_folder_is_measured_now_and_then_and_stays_about_its_limit(tmp_path, monkeypatch):
    looks = []
    shrink = DiskCache.shrink
    monkeypatch.setattr(DiskCache, "shrink", lambda cache: (looks.append(1), shrink(cache)))
    monkeypatch.setattr(disk_cache, "LOOKS_PER_FILL", 16)
    cache = filled(tmp_path, 1000, max_bytes=100 * (1000 + HEAD_BYTES))
    # every put looks with a chance of 16 / 100; 1000 puts: 160 looks, give or take three deviations of 12
    assert 124 < len(looks) < 196
    assert 0.9 * cache.max_bytes < num_bytes_in(tmp_path) < 1.3 * cache.max_bytes


DAMAGES = {
    "a bit flipped in the payload": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "a bit flipped in the digest": lambda content: content[:20] + bytes([content[20] ^ 128]) + content[21:],
    "cut short": lambda content: content[:-1],
    "cut within the head": lambda content: content[: HEAD_BYTES - 3],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"\0",
    "garbage": lambda content: os.urandom(len(content)),
    "zeros, as a disk that lost power leaves them": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_entry_is_removed_and_can_be_put_again(tmp_path, damage):
    cache = filled(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get(key(0)) is None
    assert not file.exists()
    cache.put(key(0), payload(0))
    assert cache.get(key(0)) == payload(0)


def test_an_entry_under_another_key_is_damaged_too(tmp_path):
    cache = filled(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / f"{key(1)}.entry")
    assert cache.get(key(1)) is None
    assert names(tmp_path) == set()


def test_a_folder_made_here_belongs_to_its_owner(tmp_path):
    folder = tmp_path / "made" / "here"
    filled(folder, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o770)  # as somebody wants it who shares it
    filled(folder, 2)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o770


def test_a_file_larger_than_the_cache_is_not_read(tmp_path, monkeypatch):
    num_bytes = 1000 + HEAD_BYTES
    filled(tmp_path, 1)
    assert DiskCache(tmp_path, num_bytes).get(key(0)) == payload(0)
    assert DiskCache(tmp_path, num_bytes - 1).get(key(0)) is None  # put with more room, by another run
    assert DiskCache(tmp_path, num_bytes).get(key(0)) == payload(0)  # and left to that run
    os.truncate(tmp_path / f"{key(0)}.entry", 2**40)  # holes, and more than there is memory
    assert DiskCache(tmp_path, num_bytes).get(key(0)) is None


def test_links_are_not_followed(tmp_path):
    folder, outside = tmp_path / "cache", tmp_path / "outside"
    cache = filled(folder, 1)
    whole = (folder / f"{key(0)}.entry").read_bytes()
    outside.write_bytes(whole)
    (folder / f"{key(0)}.entry").unlink()
    (folder / f"{key(0)}.entry").symlink_to(outside)
    assert cache.get(key(0)) is None  # although what the link points to would be right
    cache.put(key(0), payload(0, 50))
    assert cache.get(key(0)) == payload(0, 50)
    assert outside.read_bytes() == whole
    (folder / f"{key(1)}.entry").symlink_to(outside)
    DiskCache(folder, HEAD_BYTES + 50).shrink()  # of link and entry, the link was made last
    assert outside.read_bytes() == whole


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_neither_blocks_nor_is_read(tmp_path, make):
    cache = DiskCache(tmp_path, 2**20)
    make(tmp_path / f"{key(0)}.entry")
    assert cache.get(key(0)) is None


def test_files_of_others_are_left_alone(tmp_path):
    others = {"notes.txt", "a" * 64, "entry", f"{'A' * 64}.entry", ".hidden"}
    for name in others:
        (tmp_path / name).write_bytes(bytes(5000))
        os.utime(tmp_path / name, (0, 0))
    filled(tmp_path, 5, max_bytes=2 * (1000 + HEAD_BYTES))
    assert names(tmp_path) - {f"{key(number)}.entry" for number in (3, 4)} == others


def test_leftovers_go_when_they_are_old_and_count_until_then(tmp_path):
    cache = filled(tmp_path, 2, max_bytes=3 * (1000 + HEAD_BYTES))
    old, young = (tmp_path / f".{key(9)}.entry.{digit * 16}" for digit in "ab")
    for file in (old, young):
        file.write_bytes(bytes(1000 + HEAD_BYTES))
    os.utime(old, (time.time() - disk_cache.LEFTOVER_AGE_S - 1,) * 2)
    cache.put(key(2), payload(2))
    # four of them are there without the old one, and three fit
    assert names(tmp_path) == {young.name, f"{key(1)}.entry", f"{key(2)}.entry"}


def write_for_ever(folder: Path, max_bytes: int, first: int) -> None:
    cache, number = DiskCache(folder, max_bytes), first
    while True:
        cache.put(key(number % 7), payload(number % 7, 400_000))
        number += 1


def test_a_killed_writer_leaves_whole_entries_or_none(tmp_path):
    context, cache, num_found = multiprocessing.get_context("fork"), DiskCache(tmp_path, 2**21), 0
    for kill in range(40):
        writer = context.Process(target=write_for_ever, args=(tmp_path, 2**21, kill))
        writer.start()
        time.sleep(0.004 + 0.0007 * kill)
        writer.kill()
        writer.join()
        assert writer.exitcode == -signal.SIGKILL
        found = {number: cache.get(key(number)) for number in range(7)}
        assert all(content in (None, payload(number, 400_000)) for number, content in found.items())
        num_found += sum(content is not None for content in found.values())
    assert num_found > 40
    assert any(name.startswith(".") for name in names(tmp_path)), "no kill struck while writing; the test shows nothing"
    for file in tmp_path.glob(".*"):
        os.utime(file, (0, 0))
    cache.shrink()
    assert not any(name.startswith(".") for name in names(tmp_path))


def write_and_read(folder: Path, max_bytes: int, seed: int, wrong) -> None:
    cache = DiskCache(folder, max_bytes)
    for turn in range(400):
        number = (turn * (seed + 3)) % 11
        content = cache.get(key(number))
        if content is None:
            cache.put(key(number), payload(number, 20_000))
        elif content != payload(number, 20_000):
            wrong.value += 1


def test_processes_share_a_folder_that_holds_three_entries(tmp_path):
    context, max_bytes = multiprocessing.get_context("fork"), 3 * (20_000 + HEAD_BYTES)
    wrong = context.Value("i", 0)
    processes = [context.Process(target=write_and_read, args=(tmp_path, max_bytes, n, wrong)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert wrong.value == 0
    assert 0 < num_bytes_in(tmp_path) <= max_bytes
    assert not any(name.startswith(".") for name in names(tmp_path))


def put_with_a_limit_on_files(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    cache = DiskCache(folder, 2**20)
    with pytest.raises(OSError, match="File too large"):
        cache.put(key(1), payload(1, 1000))
    cache.put(key(2), payload(2, 100))


def test_a_write_that_fails_half_way_leaves_nothing_behind(tmp_path):
    cache = filled(tmp_path, 1)
    process = multiprocessing.get_context("fork").Process(target=put_with_a_limit_on_files, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert names(tmp_path) == {f"{key(0)}.entry", f"{key(2)}.entry"}
    assert cache.get(key(0)) == payload(0)


def test_room_is_left_to_others_and_what_is_there_is_read(tmp_path, monkeypatch):
    cache = filled(tmp_path, 2)
    disk = shutil.disk_usage(tmp_path)._replace(total=100_000, free=6_000)  # 5 % are 5,000
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: disk)
    cache.put(key(2), payload(2, 900))
    with pytest.raises(OSError, match="less than 5% of the disk would stay free"):
        cache.put(key(3), payload(3, 1001))
    assert [cache.get(key(number)) for number in range(4)] == [payload(0), payload(1), payload(2, 900), None]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], capture_output=True, text=True
    )
    if done.returncode:
        unavailable(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_full_disk_keeps_what_it_has(small_disk, monkeypatch):
    cache = DiskCache(small_disk / "cache", 2**24)
    cache.put(key(0), payload(0, 700_000))
    with pytest.raises(OSError, match="less than 5% of the disk would stay free"):
        cache.put(key(1), payload(1, 330_000))
    monkeypatch.setattr(disk_cache, "MIN_FREE_SHARE", -9.0)  # as if somebody else filled it while we write
    with pytest.raises(OSError, match="No space left on device"):
        cache.put(key(1), payload(1, 600_000))
    assert names(cache.folder) == {f"{key(0)}.entry"}
    assert cache.get(key(0)) == payload(0, 700_000)


def test_a_folder_that_may_only_be_read_is_read(small_disk):
    cache = filled(small_disk / "cache", 1)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert cache.get(key(0)) == payload(0)
    with pytest.raises(OSError, match="Read-only file system"):
        cache.put(key(1), payload(1))
    file = cache.folder / f"{key(0)}.entry"
    assert DiskCache(cache.folder, 2**20).get(key(0)) and file.exists()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    cache = DiskCache(tmp_path / "file" / "cache", 2**20)
    assert cache.get(key(0)) is None
    with pytest.raises(OSError, match="Not a directory"):
        cache.put(key(0), payload(0))
