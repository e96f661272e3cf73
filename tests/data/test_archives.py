import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.data.archives import UnpackLimits, place_of, unpack
from tests.data.made_archives import tarred, zipped


def with_entry(path: Path, name: str, kind: bytes, link: str = "") -> Path:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        archive.addfile(entry)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


PACKED = {"charades/a.mp4": b"a", "charades/deep/b.MKV": b"bb", "charades/notes.txt": b"n", "__MACOSX/._a.mp4": b"x"}

make = pytest.mark.parametrize("make", [zipped, tarred], ids=["zip", "tar"])


@make
def test_flat_leaves_folders_out_and_takes_videos_only(tmp_path, make):
    assert unpack(make(tmp_path / "archive", PACKED), tmp_path / "videos" / "charades", "flat") == 2
    assert content_of(tmp_path / "videos") == {"charades/a.mp4": b"a", "charades/b.MKV": b"bb"}


@make
def test_tree_keeps_folders_but_for_one_called_like_the_target(tmp_path, make):
    unpack(make(tmp_path / "archive", PACKED), tmp_path / "charades", "tree")
    assert content_of(tmp_path / "charades") == {"a.mp4": b"a", "deep/b.MKV": b"bb"}
    unpack(tmp_path / "archive", tmp_path / "other", "tree")
    assert content_of(tmp_path / "other") == {"charades/a.mp4": b"a", "charades/deep/b.MKV": b"bb"}


@make
def test_named_files_are_all_that_is_taken(tmp_path, make):
    archive = make(tmp_path / "archive", {"captions/val_2.json": b"{}", "captions/train.json": b"[]"})
    assert unpack(archive, tmp_path / "annotations", "flat", only=["val_2.json"]) == 1
    assert content_of(tmp_path / "annotations") == {"val_2.json": b"{}"}


def test_long_compressed_tar_is_read_in_one_pass(tmp_path):
    files = {f"{number:04}.mp4": b"%d" % number for number in range(500)}
    for mode in ("w", "w:gz", "w:xz"):
        folder = tmp_path / mode.replace(":", "_")
        assert unpack(tarred(tmp_path / "archive", files, mode), folder, "flat") == 500
        assert content_of(folder) == files


def test_file_that_is_there_stays(tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"mine")
    unpack(zipped(tmp_path / "archive", {"a.mp4": b"theirs", "b.mp4": b"b"}), tmp_path / "videos", "flat")
    assert content_of(tmp_path / "videos") == {"a.mp4": b"mine", "b.mp4": b"b"}


def refused(archive: Path, tmp_path: Path, message: str, **options) -> None:
    """The archive is refused, and nothing of it is found anywhere."""
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=message):
        unpack(archive, tmp_path / "root" / "videos", options.pop("layout", "tree"), **options)
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "root", tmp_path / "root" / "videos"}


@make
@pytest.mark.parametrize("layout", ["flat", "tree"])
@pytest.mark.parametrize(
    "name", ["../outside.mp4", "/tmp/outside.mp4", "a/../../../outside.mp4", "C:\\x.mp4", "..\\a.mp4"]
)
def test_entry_that_leads_outside_is_refused(tmp_path, make, layout, name):
    refused(make(tmp_path / "archive", {"a.mp4": b"a", name: b"x"}), tmp_path, "outside the folder", layout=layout)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_of_tar_archives_are_refused(tmp_path, kind):
    refused(with_entry(tmp_path / "archive", "a.mp4", kind, "/etc/passwd"), tmp_path, "is a link or a device")


def test_links_of_zip_archives_are_refused(tmp_path):
    entry = zipfile.ZipInfo("a.mp4")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "archive", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    refused(tmp_path / "archive", tmp_path, "is a link or a device")


@make
def test_archive_that_swells_is_stopped_at_its_limit(tmp_path, make):
    options = {"compression": zipfile.ZIP_DEFLATED} if make is zipped else {}
    archive = make(tmp_path / "archive", {"a.mp4": b"a", "b.mp4": bytes(5_000_000)}, **options)
    assert archive.stat().st_size < 50_000
    refused(archive, tmp_path, "more than 1000000 bytes", limits=UnpackLimits(num_bytes=1_000_000))


def test_size_that_a_zip_archive_claims_is_not_believed(tmp_path):
    archive = zipped(tmp_path / "archive", {"b.mp4": bytes(5_000_000)}, compression=zipfile.ZIP_DEFLATED)
    size = (5_000_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(size, (10).to_bytes(4, "little")))
    # zipfile hands out no more than the claimed ten bytes, and then finds that their checksum is wrong
    refused(archive, tmp_path, "cannot be read", limits=UnpackLimits(num_bytes=1_000_000))


@make
def test_too_many_entries_are_refused_wanted_or_not(tmp_path, make):
    archive = make(tmp_path / "archive", {f"{number}.txt": b"" for number in range(12)})
    refused(archive, tmp_path, "more than 10 entries", limits=UnpackLimits(num_bytes=100, num_files=10))


def test_limit_follows_from_the_size_of_the_archive(tmp_path):
    (tmp_path / "archive").write_bytes(bytes(1000))
    # 1 GiB and twenty times 1000 bytes
    assert UnpackLimits.for_archive(tmp_path / "archive").num_bytes == 1_073_741_824 + 20_000


def test_same_place_twice_is_refused(tmp_path):
    refused(
        zipped(tmp_path / "archive", {"x/a.mp4": b"1", "y/a.mp4": b"2"}), tmp_path, "holds a.mp4 twice", layout="flat"
    )


@make
def test_damaged_archive_puts_nothing_in_place(tmp_path, make):
    whole = make(tmp_path / "archive", {"a.mp4": b"a" * 1000, "b.mp4": bytes(range(256)) * 1000}).read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "archive").write_bytes(whole[:cut])
        refused(tmp_path / "archive", tmp_path, "cannot be read .* delete it to download it again")


def test_encrypted_zip_is_named_as_such(tmp_path):
    archive = zipped(tmp_path / "archive", {"a.mp4": b"a"})
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the general purpose flags of the entry, and below those of the directory
    data[data.find(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    refused(archive, tmp_path, "is encrypted")


def test_header_that_would_fill_the_memory_is_refused(tmp_path):
    entry = tarfile.TarInfo("a.mp4")
    entry.pax_headers = {"comment": "x" * 5_000_000}
    with tarfile.open(tmp_path / "archive", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(entry)
    assert (tmp_path / "archive").stat().st_size < 50_000
    refused(tmp_path / "archive", tmp_path, "header of 50000")


def test_remains_of_a_killed_call_are_cleared_away(tmp_path):
    (tmp_path / "videos" / ".unpacking").mkdir(parents=True)
    (tmp_path / "videos" / ".unpacking" / "half.mp4").write_bytes(b"ha")
    unpack(zipped(tmp_path / "archive", {"a.mp4": b"a"}), tmp_path / "videos", "flat")
    assert content_of(tmp_path / "videos") == {"a.mp4": b"a"}


@given(st.text(alphabet="ab./\\:\0C", max_size=12), st.sampled_from(["flat", "tree"]))
def test_no_name_leads_out_of_the_folder(name, layout):
    try:
        place = place_of(name, layout, "a")
    except ValueError:
        return
    assert place.parts
    assert not place.is_absolute() and ".." not in place.parts and not any("\\" in part for part in place.parts)
