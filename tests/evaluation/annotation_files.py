"""Small annotation files in the schemas in which benchmarks are distributed, and ways to spoil them."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from museg.evaluation.benchmarks import BenchmarkSettings

GROUNDING = {
    "video": "charades/3MSZA.mp4",
    "question": "When does a person turn a light on?",
    "groundtruth": [[24.3, 30.4]],
}
MUSEG_ROW = {
    "idx": 7,
    "problem": "When does 'it' occur?",
    "solution": [[1.0, 2.5], [4, 5]],
    "video": "a.mp4",
    "task": "tal",
}
HIGHLIGHT = {
    "qid": 8737,
    "query": "A family plays basketball.",
    "duration": 8,
    "vid": "bP5KfdFJzC4_660.0_810.0",
    "relevant_windows": [[0, 4]],
    "relevant_clip_ids": [0, 1],
    "saliency_scores": [[4, 1, 1], [4, 2, 0]],
}
CAPTIONS = {
    "v_one": {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [17.37, 60.81]],
        "sentences": ["A woman sits.", " She claps. "],
    },
    "v_two": {"duration": 30.0, "timestamps": [[0, 30.0]], "sentences": ["A dog runs."]},
}

_COMMON = {"version": 1.0, "idx": 0, "duration": 60.0, "q": "Which one?"}
_OPTIONS = {"o": ["open", "close", "sit", "eat"], "p": 2}
ET_BENCH = {
    task: {**_COMMON, "task": task, "source": source, "video": f"{source}/a.mp4", **fields}
    for task, source, fields in (
        ("rar", "perception_test", {"src": [3.5], **_OPTIONS}),
        ("eca", "charades_sta", {"o": [[0, 1], [2, 3.5], [4, 5], [6, 7]], "p": 0}),
        ("rvq", "star", {"o": ["a", "b", "c", "d", "e"], "p": 4}),
        ("tvg", "qvhighlights", {"tgt": [3, 9.5]}),
        ("epm", "ego4d_nlq", {"tgt": [0.0, 2.0]}),
        ("tal", "thumos14", {"tgt": [[1, 2], [5, 8]]}),
        ("evs", "tvsum", {"tgt": [[1, 2]]}),
        ("vhd", "qvhighlights", {"tgt": [[[1, 2], [4, 6]], [[3, 5]]]}),
        ("dvc", "youcook2", {"tgt": [[1, 2], [5, 8]], "g": ["stir", "pour"]}),
        ("slc", "ht_step", {"tgt": [[1, 2]], "g": ["stir"]}),
        ("tem", "perception_test", {"tgt": [[1, 2], [5, 8]], "src": [30.0]}),
        ("gvq", "qa_ego4d", {"tgt": [1, 5], **_OPTIONS}),
    )
}

SETTINGS = BenchmarkSettings(
    name="thumos14",
    format="released_grounding",
    rule="released_tal",
    distributed="thumos14.json",
    annotations=None,
    num_rows=2,
    question="{query}",
    video_folder="videos",
    video_root=None,
    licence="",
    origin="",
    max_new_tokens=512,
    max_context_tokens=4096,
)


def settings(**changes: Any) -> BenchmarkSettings:
    """THUMOS14 as if it had two rows, changed."""
    return replace(SETTINGS, **changes)


def changed(row: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {**row, **fields}


def without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def list_file(folder: Path, *rows: Any, name: str = "rows.json") -> Path:
    """A JSON list of the rows; bytes stand for themselves."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    written = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"[\n" + b",\n".join(written) + b"\n]\n")
    return path


def lines_file(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    """A line for each row; bytes stand for themselves."""
    path = folder / name
    path.write_bytes(b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows))
    return path
