"""From the files of the shards to one: answers in annotation order, unreadable videos, how often any was decoded."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from museg.evaluation.prediction_file import Record, alone, check_header, header_line, read_shard, write_whole
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.shards import Shard

PREDICTIONS, QUARANTINE, DECODING = "predictions.jsonl", "quarantine.jsonl", "decoding.json"


def shard_path(output: Path, kind: str, shard: Shard) -> Path:
    """Where one process writes its answers (kind "shard.jsonl"), and its part of the other files."""
    name, _, ending = kind.partition(".")
    return output / "predictions" / f"{name}_{shard[0]}_of_{shard[1]}.{ending}"


def shard_paths(output: Path, kind: str) -> list[Path]:
    """All processes' files of one kind, however many there were when each was written."""
    name, _, ending = kind.partition(".")
    return sorted((output / "predictions").glob(f"{name}_*_of_*.{ending}"))


def check_headers(output: Path, header: Mapping[str, Any]) -> None:
    """Raise ValueError where `output` holds answers given under other conditions (`check_header`)."""
    for file in shard_paths(output, "shard.jsonl"):
        check_header(file, read_shard(file).header, header)
    merged = output / PREDICTIONS
    if merged.exists():
        with merged.open("rb") as opened:
            check_header(merged, _header_of(merged, opened.readline()), header)


def answered(output: Path) -> dict[str, Record]:
    """The answers so far by sample id, of all shards; the first file decides where two hold the same sample."""
    found: dict[str, Record] = {}
    for file in shard_paths(output, "shard.jsonl"):
        for record in read_shard(file).records:
            found.setdefault(record["id"], record)
    return found


def missing_rows(output: Path, samples: Sequence[BenchmarkSample]) -> list[int]:
    """The rows of the samples that no shard has answered yet."""
    found = answered(output)
    return [sample.row for sample in samples if sample.sample_id not in found]


def merge(output: Path, samples: Sequence[BenchmarkSample], header: Mapping[str, Any]) -> Path:
    """Write `predictions.jsonl` when every sample is answered; else it is not there. Returns its path either way.

    Every process calls this when it is done. They take turns, so that of two that finish together the second sees all.
    """
    merged = output / PREDICTIONS
    with alone(output / "predictions" / ".merging"):
        write_whole(output / DECODING, json.dumps(decoding_counts(output), indent=2) + "\n")
        rows = {row["video"]: row for row in quarantined(output)}
        write_whole(output / QUARANTINE, "".join(json.dumps(row) + "\n" for row in rows.values()))
        found = answered(output)
        if all(sample.sample_id in found for sample in samples):
            lines = [json.dumps(found[sample.sample_id]) + "\n" for sample in samples]
            write_whole(merged, header_line(header) + "".join(lines))
        else:
            merged.unlink(missing_ok=True)  # of fewer samples than are asked now
    return merged


def quarantined(output: Path) -> Iterator[dict[str, Any]]:
    """The unreadable videos of all shards; a last line that is being written is left out."""
    for file in shard_paths(output, QUARANTINE):
        for line in file.read_bytes().split(b"\n")[:-1]:
            yield json.loads(line)


def decoding_counts(output: Path) -> dict[str, int]:
    """How often videos were decoded and encoded since the folder was begun, summed over shards and restarts."""
    total: Counter[str] = Counter()
    for file in shard_paths(output, DECODING):
        total.update(json.loads(file.read_bytes()))
    return dict(total)


def _header_of(file: Path, line: bytes) -> Mapping[str, Any]:
    try:
        header = json.loads(line)["header"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}:1: no header; this is no file of predictions, move it away") from error
    return header
