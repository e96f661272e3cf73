import json
import os

import pytest

from museg.data.inventory import Inventory, file_state, missing_videos, take_inventory
from museg.video.decoding import available_decoders
from tests.data import failing_readers
from tests.video import made_files


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "videos"
    (folder / "made").mkdir(parents=True)
    for number in range(3):
        made_files.numbered_mp4(folder / "made" / f"clip_{number}.mp4")
    return folder


NAMES = [f"made/clip_{number}.mp4" for number in range(3)]


def taken(root, names, **settings) -> Inventory:
    settings = {"num_workers": 0, "timeout_s": 60, **settings}
    return take_inventory(root, names, root.parent / "checks", **settings)


def marks(root) -> list[str]:
    file = root / "made" / "marks.txt"
    lines = file.read_text().split("\n") if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.split()[0] for line in lines if line]


def test_the_state_of_a_file_changes_with_its_size_and_date(root):
    (root / "made" / "text.mp4").write_text("12345")
    os.utime(root / "made" / "text.mp4", ns=(7, 8))
    assert file_state(root, "made/text.mp4") == file_state(root, "videos/made/text.mp4") == [5, 8]
    (root / "made" / "link.mp4").symlink_to(__file__)
    for absent in ("made/gone.mp4", "made", "../videos/made/text.mp4", "made/link.mp4", "", "a\0b", "x" * 5000):
        assert file_state(root, absent) is None


def test_complete_set_of_videos(root):
    told = []
    inventory = taken(root, [*NAMES, NAMES[0]], progress=lambda *row: told.append(row))
    assert inventory == Inventory(num_videos=3, missing=(), unreadable={})
    assert inventory.is_complete
    assert told == [("decoding", 1, 3), ("decoding", 2, 3), ("decoding", 3, 3)]


def test_missing_and_broken_videos_are_listed_with_reasons(root):
    whole = (root / NAMES[1]).read_bytes()
    (root / NAMES[1]).write_bytes(whole[: len(whole) // 2])
    (root / "made" / "text.mp4").write_text("no video\n")
    inventory = taken(root, ["made/gone.mp4", NAMES[1], NAMES[0], "made/text.mp4", "made"])
    assert inventory.missing == ("made/gone.mp4", "made")  # a folder is no video
    assert list(inventory.unreadable) == [NAMES[1], "made/text.mp4"]
    reason = inventory.unreadable["made/text.mp4"]
    assert all(f"{decoder}: is not a video container" in reason for decoder in available_decoders())
    inventory.write(root / "problems.jsonl")
    rows = [json.loads(line) for line in (root / "problems.jsonl").read_text().splitlines()]
    assert [(row["video"], row["problem"]) for row in rows] == [
        ("made/gone.mp4", "missing"),
        ("made", "missing"),
        (NAMES[1], "unreadable"),
        ("made/text.mp4", "unreadable"),
    ]
    Inventory(1, (), {}).write(root / "problems.jsonl")
    assert not (root / "problems.jsonl").exists()


def test_readable_videos_are_not_read_again_until_they_change(root):
    read = failing_readers.leaves_a_mark
    taken(root, NAMES, read=read)
    assert marks(root) == ["clip_0", "clip_1", "clip_2"]
    assert taken(root, NAMES, read=read).is_complete
    assert marks(root) == []
    made_files.numbered_mp4(root / NAMES[1], num_frames=8)
    taken(root, NAMES, read=read)
    assert marks(root) == ["clip_1"]
    memory = root.parent / "checks" / "readable.jsonl"
    memory.write_bytes(memory.read_bytes()[:-5])  # a kill in the middle of the last line, which was that of clip_1
    taken(root, NAMES, read=read)
    assert marks(root) == ["clip_1"]
    assert taken(root, NAMES, read=read).is_complete
    assert marks(root) == []


def test_unreadable_video_is_tried_again_and_may_have_been_mended(root):
    (root / NAMES[0]).write_bytes(b"")
    assert list(taken(root, NAMES).unreadable) == [NAMES[0]]
    made_files.numbered_mp4(root / NAMES[0])
    assert taken(root, NAMES).is_complete


@pytest.mark.parametrize(
    ("read", "reason"),
    [(failing_readers.hangs_on_one_clip, "decoder stopped"), (failing_readers.dies_on_one_clip, "exit code 7")],
)
def test_decoders_that_hang_or_die_cost_one_video(root, read, reason):
    inventory = taken(root, NAMES, num_workers=1, timeout_s=2, read=read)
    assert list(inventory.unreadable) == [NAMES[1]]
    assert reason in inventory.unreadable[NAMES[1]]


def test_paths_that_lead_outside_are_refused(root):
    os.symlink(root.parent, root / "up")
    (root.parent / "secret.mp4").write_bytes(b"x")
    for video in ("../secret.mp4", "/etc/passwd", "up/secret.mp4"):
        with pytest.raises(ValueError, match="video path"):
            missing_videos(root, [video])
