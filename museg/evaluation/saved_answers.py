"""Answers from a file, whoever gave them: matched with the samples of a benchmark, none of which is ever left out."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.dialogue.responses import answer_block
from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.answer_ids import GivenAnswer, matched, read_ids
from museg.evaluation.released_answers import answer_of, read_released_answers
from museg.evaluation.samples import Answer, BenchmarkSample

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WINDOWS, SALIENCY = "pred_relevant_windows", "pred_saliency_scores"
HEADER, ID, QID = "header", "id", "qid"


@dataclass(frozen=True)
class SavedAnswers:
    """What a file says about every sample of a benchmark."""

    answers: Mapping[int, Answer]
    """Row -> answer, one for each sample; those that the file does not answer have the fault `missing`."""
    notes: tuple[str, ...]
    """What a reader of the scores should know: how ids were read where that is not plain, and what is missing or left
    out. Predictions written here for all samples have none."""


def read_answers(
    path: Path, samples: Sequence[BenchmarkSample], rule: str, unasked: Sequence[BenchmarkSample] = ()
) -> SavedAnswers:
    """The answers that a file gives to `samples`; none of these is left out.

    The file is recognised by its content: JSON lines with `id` and `output` (the text inside the answer block, used as
    it is) or `completion` (a raw text, whose only answer block is read, stripped); predictions written here, which open
    with a header; lines of scored windows with `qid`, for moment retrieval (`rule`) only; output of the released
    evaluation scripts. Ids are the annotation's own where all of them are, else rows of its file counted from 0.
    Answers to `unasked`, the samples of that file that the benchmark passes over, are left out and counted.

    Raises one ValueError with every line that cannot be used: not UTF-8, no JSON object, no id, one that is unknown or
    repeated, neither output nor completion. What a model answered never raises.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"file of answers {path} does not exist; give the path of a file")
    if _is_list(path):
        found, notes = read_released_answers(path, samples, unasked), ()
    else:
        found, notes = _read_lines(path, [*samples, *unasked], rule)
    missing = Answer("", fault=AnswerFault.MISSING.value)
    answers = {sample.row: found.get(sample.row, missing) for sample in samples}
    return SavedAnswers(answers, (*notes, *_coverage(answers, num_unasked=len(found.keys() - answers.keys()))))


def _coverage(answers: Mapping[int, Answer], num_unasked: int) -> Iterator[str]:
    if num_unasked:
        yield f"{num_unasked} answer(s) in the file are to samples that this benchmark does not ask; they are left out."
    if num_missing := sum(answer.fault == AnswerFault.MISSING.value for answer in answers.values()):
        yield f"{num_missing} of {len(answers)} samples have no answer in the file; they count as failures."


def _is_list(path: Path) -> bool:
    """Whether the first character that is not blank opens a JSON list."""
    for _, line in numbered_lines(path):
        return line.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] == b"["
    raise ValueError(f"file of answers {path} is empty; give one with a line for each answer")


def _read_lines(path: Path, samples: Sequence[BenchmarkSample], rule: str) -> tuple[dict[int, Answer], tuple[str, ...]]:
    """Row -> answer, and what is to be said about the ids; those of predictions written here, and qids, are clear."""
    given, keys, bad, is_first, is_ours = [], set(), FileFaults(path), True, False
    for number, line in numbered_lines(path):
        with bad.at(f"line {number}"):
            row = json_object(line)
            if is_first and HEADER in row:
                is_ours = True
            else:
                key, given_id = _given_id(row)
                answer = _scored_windows(row, rule) if WINDOWS in row else _text(row, is_ours)
                given.append(GivenAnswer(number, given_id, answer))
                keys.add(key)
        is_first = False
    reading, notes = read_ids([item.given_id for item in given], samples, are_own=is_ours or keys == {QID})
    answers = matched(given, reading, bad)
    bad.raise_if_any()
    return answers, notes


def _given_id(row: Mapping[str, Any]) -> tuple[str, str]:
    """Key and value of a line's id."""
    key = ID if ID in row or WINDOWS not in row else QID
    row_fields.need(row, key)
    value = row[key]
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise ValueError(f"{key} must be a whole number or a text, not {row_fields.short(value)}")
    return key, str(value)


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
    """A line of a submission to moment retrieval; what it says in words as well is kept, and not scored.

    **Source:** jayleicn/moment_detr, standalone_eval/README.md.
    """
    if rule != "moment_retrieval":
        raise ValueError(f"{WINDOWS} is scored by moment retrieval only (benchmark=qvhighlights), not by {rule}")
    windows, saliency = row[WINDOWS], row.get(SALIENCY)
    are_windows = isinstance(windows, list) and all(_are_numbers(window) and len(window) == 3 for window in windows)
    if not are_windows or not (saliency is None or _are_numbers(saliency)):
        return Answer("", fault=AnswerFault.NOT_WINDOWS.value)
    text, completion = (row.get(key) if isinstance(row.get(key), str) else None for key in ("output", "completion"))
    return Answer(
        text=text or "",
        completion=completion,
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
