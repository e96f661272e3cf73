"""Answers from a file, whoever gave them: matched with the samples of a benchmark, none of which is ever left out."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from museg.data import row_fields
from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.dialogue.responses import answer_block
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.released_answers import answer_of, read_released_answers
from museg.evaluation.samples import Answer, BenchmarkSample

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WINDOWS, SALIENCY = "pred_relevant_windows", "pred_saliency_scores"
HEADER = "header"


class GivenAnswer(NamedTuple):
    """A line of a file of answers."""

    line: int
    given_id: str
    answer: Answer


def read_answers(path: Path, samples: Sequence[BenchmarkSample], rule: str) -> dict[int, Answer]:
    """Row -> answer for every sample; those that the file does not answer get the fault `missing`.

    The file is recognised by its content: JSON lines with `id` and `output` (the text inside the answer block, used as
    it is) or `completion` (a raw text, whose only answer block is read, stripped); predictions written here, which open
    with a header; lines of scored windows with `qid`, for moment retrieval (`rule`) only; output of the released
    evaluation scripts. Ids are the annotation's own where all of them are, else rows counted from 0.

    Raises one ValueError with every line that cannot be used: not UTF-8, no JSON object, no id, one that is unknown or
    repeated, neither output nor completion. What a model answered never raises.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"file of answers {path} does not exist; give the path of a file")
    answers = read_released_answers(path, samples) if _is_list(path) else _read_lines(path, samples, rule)
    missing = Answer("", fault=AnswerFault.MISSING.value)
    return {sample.row: answers.get(sample.row, missing) for sample in samples}


def num_missing(answers: Mapping[int, Answer]) -> int:
    """How many samples the file did not answer."""
    return sum(answer.fault == AnswerFault.MISSING.value for answer in answers.values())


def _is_list(path: Path) -> bool:
    """Whether the first character that is not blank opens a JSON list."""
    for _, line in numbered_lines(path):
        return line.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"["
    raise ValueError(f"file of answers {path} is empty; give one with a line for each answer")


def _read_lines(path: Path, samples: Sequence[BenchmarkSample], rule: str) -> dict[int, Answer]:
    given, bad, is_first, is_ours = [], FileFaults(path), True, False
    for number, line in numbered_lines(path):
        with bad.at(f"line {number}"):
            row = json_object(line)
            if is_first and HEADER in row:
                is_ours = True
            else:
                given_id = _given_id(row)
                answer = _scored_windows(row, rule) if WINDOWS in row else _text(row, is_ours)
                given.append(GivenAnswer(number, given_id, answer))
        is_first = False
    answers = _matched(given, samples, bad)
    bad.raise_if_any()
    return answers


def _matched(given: Sequence[GivenAnswer], samples: Sequence[BenchmarkSample], bad: FileFaults) -> dict[int, Answer]:
    """Row -> answer; ids that are unknown or repeated go to `bad`."""
    by_id = {sample.sample_id: sample.row for sample in samples}
    by_row = {str(sample.row): sample.row for sample in samples}
    num_ids, num_rows = (sum(item.given_id in known for item in given) for known in (by_id, by_row))
    rows = by_id if num_ids == len(given) or num_ids >= num_rows else by_row
    answers: dict[int, Answer] = {}
    line_of_row: dict[int, int] = {}
    for item in given:
        with bad.at(f"line {item.line}"):
            shown = row_fields.short(item.given_id)
            if item.given_id not in rows:
                raise ValueError(f"id {shown} is neither an id nor a row (0 to {len(samples) - 1}) of the annotation")
            row = rows[item.given_id]
            if row in line_of_row:
                raise ValueError(f"id {shown} repeats that of line {line_of_row[row]}")
            line_of_row[row] = item.line
            answers[row] = item.answer
    return answers


def _given_id(row: Mapping[str, Any]) -> str:
    key = "id" if "id" in row or WINDOWS not in row else "qid"
    row_fields.need(row, key)
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{key} must be a whole number or a text, not {row_fields.short(value)}")
    return str(value)


def _text(row: Mapping[str, Any], is_ours: bool) -> Answer:
    if "output" in row:
        answer = answer_of(row["output"], row.get("completion"))
        fault = row.get("fault") if is_ours else None
        return Answer(answer.text, answer.completion, fault) if isinstance(fault, str) else answer
    if "completion" not in row:
        raise ValueError("has neither output nor completion")
    completion = row["completion"]
    if not isinstance(completion, str):
        return Answer("", fault=AnswerFault.NOT_TEXT.value)
    inside = answer_block(completion)
    if inside is None:
        return Answer("", completion, AnswerFault.NO_ANSWER_BLOCK.value)
    return answer_of(inside.strip(), completion)


def _scored_windows(row: Mapping[str, Any], rule: str) -> Answer:
    """A line of a submission to moment retrieval.

    **Source:** jayleicn/moment_detr, standalone_eval/README.md.
    """
    if rule != "moment_retrieval":
        raise ValueError(f"{WINDOWS} is scored by moment retrieval only (benchmark=qvhighlights), not by {rule}")
    windows, saliency = row[WINDOWS], row.get(SALIENCY)
    are_windows = isinstance(windows, list) and all(_are_numbers(window) and len(window) == 3 for window in windows)
    if not are_windows or not (saliency is None or _are_numbers(saliency)):
        return Answer("", fault=AnswerFault.NOT_WINDOWS.value)
    return Answer(
        text="",
        windows=tuple((float(start_s), float(end_s), float(score)) for start_s, end_s, score in windows),
        saliency=None if saliency is None else tuple(map(float, saliency)),
    )


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(map(_is_finite, values))


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
