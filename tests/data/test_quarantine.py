import json

import pytest

from museg.data.quarantine import Quarantine


def filled(file) -> Quarantine:
    quarantine = Quarantine.load(file)
    quarantine.add("a.mp4", ["s:1", "s:2"], {"decord": "slow", "pyav": "slow"}, step=3)
    quarantine.add("b.mp4", ["s:3"], {"path": "leaves"}, step=5)
    return quarantine


def test_additions_are_on_disk_at_once_and_come_back(tmp_path):
    file = tmp_path / "run" / "quarantine.jsonl"
    quarantine = filled(file)
    assert json.loads(file.read_text().splitlines()[0]) == {
        "video": "a.mp4",
        "example_ids": ["s:1", "s:2"],
        "reasons": {"decord": "slow", "pyav": "slow"},
        "step": 3,
    }
    again = Quarantine.load(file)
    assert again.counts == quarantine.counts == {"videos": 2, "examples": 3}
    assert "a.mp4" in again
    assert "c.mp4" not in again
    assert again.reasons("b.mp4") == {"path": "leaves"}


def test_clip_is_listed_once(tmp_path):
    quarantine = filled(tmp_path / "q.jsonl")
    quarantine.add("a.mp4", ["s:9"], {"decord": "other"}, step=9)
    assert len(quarantine) == 2
    assert quarantine.reasons("a.mp4")["decord"] == "slow"
    assert len((tmp_path / "q.jsonl").read_text().splitlines()) == 2


def test_going_back_forgets_what_came_later(tmp_path):
    quarantine = filled(tmp_path / "q.jsonl")
    quarantine.forget_after(4)
    assert "a.mp4" in quarantine
    assert "b.mp4" not in quarantine
    assert "b.mp4" not in Quarantine.load(tmp_path / "q.jsonl")
    quarantine.forget_after(-1)
    assert (tmp_path / "q.jsonl").read_text() == ""


def test_going_back_to_the_step_itself_keeps_it(tmp_path):
    quarantine = filled(tmp_path / "q.jsonl")
    quarantine.forget_after(5)
    assert len(quarantine) == 2


def test_absent_file_is_an_empty_list_and_is_not_created(tmp_path):
    assert len(Quarantine.load(tmp_path / "q.jsonl")) == 0
    assert not (tmp_path / "q.jsonl").exists()


def test_line_cut_by_a_kill_is_dropped_and_the_next_addition_is_whole(tmp_path):
    file = tmp_path / "q.jsonl"
    filled(file)
    file.write_bytes(file.read_bytes()[:-10])
    quarantine = Quarantine.load(file)
    assert "b.mp4" not in quarantine
    quarantine.add("c.mp4", ["s:4"], {"decord": "slow"}, step=6)
    assert [json.loads(line)["video"] for line in file.read_text().splitlines()] == ["a.mp4", "c.mp4"]


def test_damage_elsewhere_is_an_error_with_its_line(tmp_path):
    file = tmp_path / "q.jsonl"
    filled(file)
    file.write_text('{"video": 3}\n' + file.read_text())
    with pytest.raises(ValueError, match=r"q\.jsonl:1"):
        Quarantine.load(file)


def test_processes_tell_each_other_and_one_writes(tmp_path):
    file = tmp_path / "q.jsonl"
    writer, other = filled(file), Quarantine.load(tmp_path / "absent.jsonl", writes=False)
    assert [row["video"] for row in writer.untold()] == ["a.mp4", "b.mp4"]
    assert writer.untold() == []
    other.add("c.mp4", ["s:7"], {"decord": "slow"}, step=6)
    assert not other.file.exists()
    for row in other.untold():
        writer.add(**row)
    assert list(map(json.loads, file.read_text().splitlines()))[-1]["video"] == "c.mp4"
    assert Quarantine.load(file).untold() == []  # what was on disk is known to all


def test_only_the_writer_repairs_the_file(tmp_path):
    file = tmp_path / "q.jsonl"
    filled(file)
    torn = file.read_text() + '{"video": "c.mp4"'
    file.write_text(torn)
    reader = Quarantine.load(file, writes=False)
    reader.forget_after(4)
    assert len(reader) == 1 and file.read_text() == torn
