"""From the files of the shards to one: answers in annotation order, unreadable videos, how often any was decoded."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from museg.evaluation.prediction_file import (
    Record,
    alone,
    check_header,
    header_line,
    is_being_written,
    read_shard,
)
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.shards import Shard
from museg.evaluation.unreadable import CAUSE, is_unreadable
from museg.files import write_whole

PREDICTIONS, QUARANTINE, DECODING = "predictions.jsonl", "quarantine.jsonl", "decoding.json"


def shard_path(output: Path, kind: str, shard: Shard) -> Path:
    """Where one process writes its answers (kind "shard.jsonl"), and its part of the other files."""
    name, _, ending = kind.partition(".")
    return output / "predictions" / f"{name}_{shard[0]}_of_{shard[1]}.{ending}"


def shard_paths(output: Path, kind: str) -> list[Path]:
    """All processes' files of one kind, however many there were when each was written."""
    name, _, ending = kind.partition(".")
    return sorted((output / "predictions").glob(f"{name}_*_of_*.{ending}"))


def check_headers(output: Path, header: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Raise ValueError where `output` holds answers given under other conditions (`check_header`).

    A file without answers speaks against nothing, unless a process is about to write some. `say` is told what changed
    since the answers were begun and decides none of them.
    """
    told: dict[str, Path] = {}
    for file, old in _headers(output, header):
        if changes := check_header(file, old, header):
            told.setdefault(changes, file)
    for changes, file in told.items():
        say(f"note: {file} was begun differently: {changes}")


def _headers(output: Path, header: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """The files of answers with their headers, as far as they may differ from `header`."""
    for file in shard_paths(output, "shard.jsonl"):
        written = read_shard(file)
        if written.header not in (None, header) and (written.records or is_being_written(file)):
            yield file, written.header
    merged = output / PREDICTIONS
    if merged.exists():
        with merged.open("rb") as opened:
            yield merged, _header_of(merged, opened.readline())


def records(output: Path) -> list[Record]:
    """Every line that the shards have written so far, those that a later one replaces included."""
    return [record for file in shard_paths(output, "shard.jsonl") for record in read_shard(file).records]


def newest(written: Iterable[Record]) -> dict[str, Record]:
    """The records that count, by sample id.

    Only samples whose video could not be read are asked again, so whatever else was answered is newer than that. Where
    two processes gave the same answer the first counts.
    """
    found: dict[str, Record] = {}
    for record in written:
        before = found.get(record["id"])
        if before is None or is_unreadable(before):
            found[record["id"]] = record
    return found


def missing_rows(output: Path, samples: Sequence[BenchmarkSample]) -> list[int]:
    """The rows of the samples that no shard has answered yet."""
    found = newest(records(output))
    return [sample.row for sample in samples if sample.sample_id not in found]


def merge(output: Path, samples: Sequence[BenchmarkSample], header: Mapping[str, Any]) -> Path:
    """Write `predictions.jsonl` when every sample is answered; else it is not there. Returns its path either way.

    Every process calls this when it is done. They take turns, so that of two that finish together the second sees all.
    """
    merged = output / PREDICTIONS
    with alone(output / "predictions" / ".merging"):
        write_whole(output / DECODING, json.dumps(decoding_counts(output), indent=2) + "\n")
        found = newest(records(output))
        rows = unreadable_videos(found, samples)
        write_whole(output / QUARANTINE, "".join(json.dumps(row) + "\n" for row in rows))
        if all(sample.sample_id in found for sample in samples):
            lines = [_merged_line(found[sample.sample_id]) for sample in samples]
            write_whole(merged, header_line(header) + "".join(lines))
        else:
            merged.unlink(missing_ok=True)  # of fewer samples than are asked now
    return merged


def unreadable_videos(found: Mapping[str, Record], samples: Sequence[BenchmarkSample]) -> list[dict[str, Any]]:
    """The videos that could not be read, with the reasons and the ids of the samples that this leaves unanswered."""
    rows: dict[str, dict[str, Any]] = {}
    for sample in samples:
        cause = found.get(sample.sample_id, {}).get(CAUSE)
        if cause is not None:
            row = rows.setdefault(sample.video, {"video": sample.video, "example_ids": []})
            row["example_ids"].append(sample.sample_id)
            row["reasons"] = cause["reasons"]
    return list(rows.values())


def decoding_counts(output: Path) -> dict[str, int]:
    """How often videos were decoded and encoded since the folder was begun, summed over shards and restarts."""
    total: Counter[str] = Counter()
    for file in shard_paths(output, DECODING):
        total.update(json.loads(file.read_bytes()))
    return dict(total)


def _merged_line(record: Record) -> str:
    return json.dumps({name: value for name, value in record.items() if name != CAUSE}) + "\n"


def _header_of(file: Path, line: bytes) -> Mapping[str, Any]:
    try:
        header = json.loads(line)["header"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}:1: no header; this is no file of predictions, move it away") from error
    return header
