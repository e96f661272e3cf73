"""Finished evaluations, read back from their folders for a comparison."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.evaluation.comparison import ComparedRun, Evaluation
from museg.evaluation.rules import make_rule
from museg.evaluation.score import METRICS_FILE, SAMPLES_FILE, tables_from_samples

ASKED = ("id", "task", "source", "video", "question", "targets")
"""What two evaluations must agree on, sample by sample, to be compared."""
CAPTION_COLUMN = "METEOR"
"""Samples of E.T. Bench have it when their captions were scored."""


def read_runs(folders: Sequence[Path]) -> list[ComparedRun]:
    """The runs to compare, under the shortest names that tell them apart.

    A folder is one evaluation, or holds several of them in folders of its own, one for each benchmark.

    Raises ValueError for a folder without a finished evaluation, two evaluations of one benchmark in one run, and
    files that are damaged.
    """
    names = distinct_names(folders)
    return [ComparedRun(name, _evaluations(folder)) for name, folder in zip(names, folders, strict=True)]


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """The ends of the paths, as long as they must be to differ."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-length:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    raise ValueError(f"compare names the same folder more than once: {', '.join(map(str, folders))}")


def finished_evaluations(folder: Path) -> list[Path]:
    """The evaluation that `folder` is, or those in folders directly below it."""
    if (folder / SAMPLES_FILE).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{SAMPLES_FILE}"))


def _evaluations(folder: Path) -> dict[str, Evaluation]:
    found: dict[str, Evaluation] = {}
    for place in finished_evaluations(folder):
        benchmark, evaluation = _read(place)
        if benchmark in found:
            other = found[benchmark].folder
            raise ValueError(f"{folder} holds two evaluations of {benchmark}: {other} and {place}; name one of them")
        found[benchmark] = evaluation
    if not found:
        raise ValueError(f"{folder} holds no finished evaluation ({SAMPLES_FILE}); evaluate first")
    return found


def _read(folder: Path) -> tuple[str, Evaluation]:
    report = _json(folder / METRICS_FILE)
    lines = _lines(folder / SAMPLES_FILE)
    try:
        captions = any(CAPTION_COLUMN in line["values"].get("official", {}) for line in lines)
        rule = make_rule(report["rule"], captions=captions)
        tables = tables_from_samples(lines, rule)
        benchmark, ids = report["benchmark"], [line["id"] for line in lines]
        asked = _digest([[line[key] for key in ASKED] for line in lines])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder} is no evaluation of this program (lacks {error}); evaluate again") from error
    return benchmark, Evaluation(ids, tables, rule.overall, rule.headline, asked, folder.resolve())


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _lines(file: Path) -> list[dict[str, Any]]:
    lines, bad = [], FileFaults(file)
    for number, line in numbered_lines(file):
        with bad.at(f"line {number}"):
            lines.append(json_object(line))
    bad.raise_if_any()
    return lines


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read ({error}); the evaluation there has not ended, or is damaged"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{file} is not a JSON object; the evaluation there is damaged")
    return found
