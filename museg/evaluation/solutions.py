"""Score completions beside their solutions with a reward mix, one JSON object a line: {completion, solution, id?}."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from museg.data import row_fields
from museg.data.file_faults import FileFaults, json_object, numbered_lines
from museg.dialogue.responses import ParsedResponse, read_strict
from museg.evaluation.answer_fault import AnswerFault
from museg.rewards.base import ScoredResponse
from museg.rewards.coverage import CoverageReward
from museg.rewards.format import FormatReward
from museg.rewards.mix import RewardMix
from museg.rewards.timestamp import CitationReward, TimestampReward
from museg.temporal.segments import Segment

WITHOUT_SOLUTION = (FormatReward, TimestampReward, CitationReward)
"""Rewards that look at the response alone."""


@dataclass(frozen=True)
class Solved:
    """A completion (None: it is no text) and its solution; `line_id` is the line's own id, or its number from 0."""

    line_id: int | str
    completion: str | None
    solution: list[Any]


def score_completions(path: Path, mix: RewardMix, off: Collection[str]) -> Iterator[dict[str, Any]]:
    """{"id", "total", "terms"} for each line, in file order; the terms named in `off` are left out.

    A completion that is no text (null, a number ...) earns what an empty one does, and its line has a "fault" beside
    the scores: "not_text". The whole file is checked first: one ValueError lists every line that cannot be used (a
    missing key, a solution that is no list of times, a repeated id), before anything is scored.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"file of completions {path} does not exist; give the path of a file")
    _check(path)
    for number, line in numbered_lines(path):
        solved = _solved(line, number)
        scored = score_solution(mix, read_strict(solved.completion or ""), solved.solution, off)
        scores = {"id": solved.line_id, "total": scored.total, "terms": dict(scored.terms)}
        yield scores if solved.completion is not None else {**scores, "fault": AnswerFault.NOT_TEXT.value}


def num_not_text(lines: Iterable[Mapping[str, Any]]) -> int:
    """How many of the lines that `score_completions` gave had a completion that is no text."""
    return sum(line.get("fault") == AnswerFault.NOT_TEXT.value for line in lines)


def score_solution(
    mix: RewardMix, response: ParsedResponse, solution: list[Any], off: Collection[str]
) -> ScoredResponse:
    """Score one response against a solution as a file holds it.

    A solution is a list of [start, end]; of longer entries the first two numbers count. A bare [start, end] of whole
    numbers is a solution to the coverage reward only. Where a reward cannot read the solution its term is 0; rewards
    that do not need it are not affected.

    **Source:** THUNLP-MT/MUSEG 889565e, src/train.py, where every reward reads the solution anew.
    """
    targets, can_read = _targets(solution)
    unread = {name for name, term in mix.terms.items() if not isinstance(term, can_read)}
    scored = mix.score(response, targets, off={*off, *unread})
    terms = {name: scored.terms.get(name, 0.0) for name in mix.term_names if name not in off}
    return ScoredResponse(scored.total, terms)


def _targets(solution: list[Any]) -> tuple[list[Segment], tuple[type, ...]]:
    """The true segments, and the kinds of reward that can read them."""
    if all(isinstance(entry, list) and len(entry) >= 2 for entry in solution):
        return [Segment(*entry[:2]) for entry in solution], (object,)
    if len(solution) == 2 and all(isinstance(entry, int) for entry in solution):
        return [Segment(*solution)], (CoverageReward, *WITHOUT_SOLUTION)
    return [], WITHOUT_SOLUTION


def _check(path: Path) -> None:
    bad = FileFaults(path)
    line_of_id: dict[int | str, int] = {}
    for number, line in numbered_lines(path):
        with bad.at(f"line {number}"):
            line_id = _solved(line, number).line_id
            if line_id in line_of_id:
                raise ValueError(f"id {row_fields.short(line_id)} repeats that of line {line_of_id[line_id]}")
            line_of_id[line_id] = number
    bad.raise_if_any()
    if not line_of_id:
        raise ValueError(f"{path} holds no completions; give a file with a line for each")


def _solved(line: bytes, number: int) -> Solved:
    row = json_object(line)
    row_fields.need(row, "completion", "solution")
    line_id, completion, solution = row.get("id"), row["completion"], row["solution"]
    if isinstance(line_id, bool) or not isinstance(line_id, (int, str, type(None))):
        raise ValueError(f"id must be a whole number or a text, not {row_fields.short(line_id)}")
    if not isinstance(solution, list):
        raise ValueError(f"solution must be a list of [start, end], not {row_fields.short(solution)}")
    for entry in solution:
        for time in entry if isinstance(entry, list) else [entry]:
            row_fields.seconds(time, "solution")
    text = completion if isinstance(completion, str) else None
    return Solved(number - 1 if line_id is None else line_id, text, solution)
