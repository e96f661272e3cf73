import errno
import fcntl
import json
import os
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.evaluation.prediction_file import (
    ShardFile,
    alone,
    as_json,
    check_header,
    is_being_written,
    read_shard,
)
from tests.evaluation import small_answers

HEADER = {"benchmark": "small", "checkpoint": {"name": "a", "sha256": "12"}}


def record(number: int, text: str = "") -> dict:
    return {"id": str(number), "completion": text}


def test_batches_come_back(tmp_path):
    file = tmp_path / "predictions" / "shard_0_of_1.jsonl"
    with ShardFile(file, HEADER) as shard:
        shard.append([record(2), record(0, "a\nb\u2028\0\ud800\u00e9")])
    with ShardFile(file, HEADER) as shard:
        shard.append([record(1)])
    written = read_shard(file)
    assert written.header == HEADER
    assert written.records == (record(2), record(0, "a\nb\u2028\0\ud800\u00e9"), record(1))
    assert written.num_bytes == len(file.read_bytes())
    assert [json.loads(line).get("following") for line in file.read_bytes().splitlines()] == [None, 1, 0, 0]


def test_wherever_a_file_is_torn_whole_batches_are_left(tmp_path):
    file = tmp_path / "shard.jsonl"
    with ShardFile(file, HEADER) as shard:
        shard.append([record(0), record(1, "é"), record(2)])
        shard.append([record(3)])
    content = file.read_bytes()
    lines = content.splitlines(keepends=True)
    ends = [len(lines[0]), len(b"".join(lines[:4])), len(content)]
    for length in range(len(content) + 1):
        file.write_bytes(content[:length])
        complete = sum(end <= length for end in ends)  # the header, the first batch, the second
        written = read_shard(file)
        assert written.header == (HEADER if complete else None)
        assert len(written.records) == (0, 0, 3, 4)[complete]
        with ShardFile(file, HEADER):
            assert file.read_bytes() == content[: ends[max(complete, 1) - 1]]


def test_what_a_power_cut_leaves_behind_is_cut_off(tmp_path):
    file = tmp_path / "shard.jsonl"
    with ShardFile(file, HEADER) as shard:
        shard.append([record(0)])
    content = file.read_bytes()
    file.write_bytes(content + b"\0" * 500)
    with ShardFile(file, HEADER):
        assert file.read_bytes() == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "0"}\n', r"shard\.jsonl:1: no header"),
        (
            b'{"header": {}}\n{"id": "0", "following": 0}\n{"id"\n{"id": "1", "following": 0}\n',
            r"jsonl:3: not a line of",
        ),
        (b'{"header": {}}\n[1]\n', r"jsonl:2: not a line of predictions; delete from here on"),
        (b'{"header": {}}\n{"id": 1, "following": 0}\n', r"jsonl:2: not a line"),
        (b'{"header": {}}\n\xff\xfe\n', r"jsonl:2: not a line"),
        (b"a,b\n1,2\n", r"jsonl:1: not a line"),
    ],
)
def test_other_content_is_refused_and_left_alone(tmp_path, content, message):
    file = tmp_path / "shard.jsonl"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        ShardFile(file, {})
    assert file.read_bytes() == content


def test_a_header_lists_everything_that_changed(tmp_path):
    old = {"a": 1, "b": {"c": [1, 2], "d": None}, "e": "gone"}
    new = {"a": 1, "b": {"c": [1, 3], "d": None}, "f": 1.5}
    with pytest.raises(ValueError) as refusal:
        check_header(tmp_path / "x.jsonl", old, new)
    assert str(refusal.value).splitlines() == [
        f"{tmp_path}/x.jsonl holds answers given under other conditions:",
        "  b.c: [1, 2] -> [1, 3]",
        "  e: 'gone' -> None",
        "  f: None -> 1.5",
        "Choose another output folder, or delete that file to answer again",
    ]


def test_what_decides_no_answer_is_told_in_words(tmp_path):
    old = {"device": "cuda", "versions": {"torch": "1"}, "a": 1}
    assert check_header(tmp_path, old, {**old, "device": "cpu", "versions": {"torch": "2"}}) == (
        "device: 'cuda' -> 'cpu'; versions.torch: '1' -> '2'"
    )
    assert check_header(tmp_path, as_json({"sizes": (1, 2)}), as_json({"sizes": [1, 2]})) == ""


@given(st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=4))
def test_a_header_that_went_through_a_file_equals_itself(header):
    assert check_header(None, json.loads(json.dumps(as_json(header))), as_json(header)) == ""


@pytest.mark.parametrize("torn", [b"", b'{"id": "0", "completion": "", "following": 1}\n{"id"'])
def test_a_header_without_answers_gives_way_to_another(tmp_path, torn):
    file, other = tmp_path / "shard.jsonl", {**HEADER, "checkpoint": {"name": "a", "sha256": "34"}}
    with ShardFile(file, HEADER):
        assert is_being_written(file)
    assert not is_being_written(file)
    file.write_bytes(file.read_bytes() + torn)
    with ShardFile(file, other) as shard:
        assert read_shard(file).header == other
        shard.append([record(0)])
    with pytest.raises(ValueError, match=r"checkpoint\.sha256: '34' -> '12'"):
        ShardFile(file, HEADER)
    assert read_shard(file).records == (record(0),)


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone(tmp_path / ".lock"), ShardFile(tmp_path / "shard.jsonl", HEADER) as shard:
        shard.append([record(0)])
    assert read_shard(tmp_path / "shard.jsonl").records == (record(0),)


def count_alone(folder, times: int) -> None:
    """Read, add one, write: what two processes at a time would lose."""
    for _ in range(times):
        with alone(folder / ".lock"):
            (folder / "count").write_text(str(int((folder / "count").read_text()) + 1))


def die_alone(folder) -> None:
    with alone(folder / ".lock"):
        os.kill(os.getpid(), signal.SIGKILL)


def test_one_at_a_time_and_a_dead_process_holds_nobody_up(tmp_path):
    (tmp_path / "count").write_text("0")
    counting = (count_alone, (tmp_path, 200))
    assert small_answers.exit_codes_of(counting, (die_alone, (tmp_path,)), counting) == [0, -9, 0]
    assert (tmp_path / "count").read_text() == "400"
