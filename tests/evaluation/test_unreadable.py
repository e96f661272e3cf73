import os
import time

import pytest

from museg.data.inventory import file_state
from museg.evaluation.unreadable import (
    CAUSE,
    is_absent,
    is_unreadable,
    refuse_absent,
    settled,
    still_unreadable,
    with_cause,
)


def failed(video: str, root, before, reason: str = "broken", sample_id: str = "0") -> dict:
    return with_cause({"id": sample_id, "fault": None}, video, root, before, {"decord": reason})


def test_what_is_remembered_is_the_file_that_was_tried(tmp_path):
    file = tmp_path / "a.mp4"
    file.write_bytes(b"12345")
    os.utime(file, ns=(7, 8))
    before = file_state(tmp_path, "a.mp4")
    cause = {"video": "a.mp4", "file": [5, 8], "reasons": {"decord": "broken"}, "is_undecided": False}
    assert failed("a.mp4", tmp_path, before) == {"id": "0", "fault": "unreadable_video", CAUSE: cause}
    file.write_bytes(b"replaced while it was tried")
    assert failed("a.mp4", tmp_path, before)[CAUSE]["file"] is None
    assert failed("a.mp4", tmp_path, before)["fault"] == "unreadable_video"
    file.unlink()  # a file system that went away
    assert failed("a.mp4", tmp_path, before)[CAUSE]["file"] is None
    assert failed("a.mp4", tmp_path, before)["fault"] == "absent_video"
    file.write_bytes(b"12345")
    os.utime(file, ns=(7, 8))  # and came back
    assert still_unreadable([failed("b.mp4", tmp_path, None)], tmp_path) == {"b.mp4": {"decord": "broken"}}
    gone = {**failed("a.mp4", tmp_path, before), CAUSE: {**cause, "file": None}}
    assert still_unreadable([gone], tmp_path) == {}
    assert settled({"0": gone, "1": {"id": "1", "fault": None}}, {}) == {"1"}


def test_of_several_tries_the_one_with_the_present_file_tells_why(tmp_path):
    file = tmp_path / "a.mp4"
    written = [failed("a.mp4", tmp_path, None, "absent")]
    for content in (b"1", b"22"):
        file.write_bytes(content)
        written.append(failed("a.mp4", tmp_path, file_state(tmp_path, "a.mp4"), content.decode()))
    assert still_unreadable(written, tmp_path) == {"a.mp4": {"decord": "22"}}
    file.write_bytes(b"333")
    assert still_unreadable(written, tmp_path) == {}
    file.unlink()
    assert still_unreadable(written, tmp_path) == {"a.mp4": {"decord": "22"}}
    assert settled({"0": written[-1]}, still_unreadable(written, tmp_path)) == {"0"}


def test_a_decoder_that_hung_decides_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"1")
    before = file_state(tmp_path, "a.mp4")
    hung = with_cause({"id": "0"}, "a.mp4", tmp_path, before, {"decord": "hung"}, is_undecided=True)
    assert hung["fault"] == "unreadable_video"
    assert still_unreadable([hung], tmp_path) == {} and settled({"0": hung}, {}) == set()
    refused = failed("a.mp4", tmp_path, before)
    for written in ([hung, refused], [refused, hung]):  # whoever said it, the file is damaged
        assert still_unreadable(written, tmp_path) == {"a.mp4": {"decord": "broken"}}
    (tmp_path / "a.mp4").unlink()
    assert still_unreadable([hung], tmp_path) == {"a.mp4": {"decord": "hung"}}  # nothing to try


def test_an_absent_video_is_an_unreadable_one_too():
    faults = ("absent_video", "unreadable_video", "prompt_too_long", None)
    records = [{"id": "0", "fault": fault} for fault in faults]
    assert [is_unreadable(record) for record in records] == [True, True, False, False]
    assert [is_absent(record) for record in records] == [True, False, False, False]


def test_a_whole_benchmark_is_looked_through_quickly(tmp_path):
    (tmp_path / "videos").mkdir()
    names = [f"charades/{number}.mp4" for number in range(7000)]
    (tmp_path / "videos" / "charades").mkdir()
    for name in names:
        (tmp_path / "videos" / name).touch()
    began_s = time.perf_counter()
    refuse_absent(names, tmp_path, "Buy them.")
    assert time.perf_counter() - began_s < 10  # about half a second on a free machine
    (tmp_path / "videos" / names[-1]).unlink()
    (tmp_path / "videos" / names[-1]).mkdir()  # a folder is no video
    with pytest.raises(
        ValueError, match=rf"^1 of the 7000 videos to be asked about .* {tmp_path}: charades/6999\.mp4\nBuy them\. With"
    ):
        refuse_absent(names, tmp_path, "Buy them.")
