"""Whom a line of answers is meant for: its id is the annotation's own or a row of its file, the same kind in all lines.

Where both kinds could be meant the choice is told, never made in silence.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from museg.data import row_fields
from museg.data.file_faults import FileFaults
from museg.evaluation.samples import Answer, BenchmarkSample

OWN_IDS, ROWS = "own ids of the annotation", "rows of the annotation file, counted from 0"


class GivenAnswer(NamedTuple):
    """A line of a file of answers."""

    line: int
    given_id: str
    answer: Answer


class IdReading(NamedTuple):
    """Id as written -> row of the annotation file, in the kind of ids that was chosen and in the other one."""

    kind: str
    rows: Mapping[str, int]
    other_rows: Mapping[str, int]

    def row_of(self, given_id: str) -> int:
        """The row that an id names; ValueError for one that is unknown, or of the other kind."""
        if given_id in self.rows:
            return self.rows[given_id]
        shown = row_fields.short(given_id)
        if given_id in self.other_rows:
            other = ROWS if self.kind == OWN_IDS else OWN_IDS
            raise ValueError(f"id {shown} is one of the {other}, but the others are {self.kind}: give one kind only")
        if not self.other_rows:
            raise ValueError(f"id {shown} is none of the {self.kind}")
        last = len(self.other_rows if self.kind == OWN_IDS else self.rows) - 1
        raise ValueError(f"id {shown} is neither an id nor a row (0 to {last}) of the annotation")


def read_ids(
    given_ids: Sequence[str], samples: Sequence[BenchmarkSample], *, are_own: bool
) -> tuple[IdReading, tuple[str, ...]]:
    """How the ids of a file are read, and what there is to say about it.

    They are the annotation's own where all of them can be, else rows where all can be, else what more of them can be.
    `are_own`: they are the annotation's own for certain.
    """
    own = {sample.sample_id: sample.row for sample in samples}
    rows = {} if are_own else {str(sample.row): sample.row for sample in samples}
    num_own, num_rows = (sum(given_id in known for given_id in given_ids) for known in (own, rows))
    num_apart = sum(given_id in own and rows.get(given_id, own[given_id]) != own[given_id] for given_id in given_ids)
    if num_own == len(given_ids) or num_own >= num_rows:
        return IdReading(OWN_IDS, own, rows), _own_notes(num_apart, num_rows == len(given_ids))
    return IdReading(ROWS, rows, own), (
        f"The ids of the answers were read as {ROWS}: not all of them are {OWN_IDS}"
        + (f", {_apart(num_apart)}." if num_apart else "."),
    )


def _own_notes(num_apart: int, could_be_rows: bool) -> tuple[str, ...]:
    if not num_apart:
        return ()
    doubt = "all of them could also be" if could_be_rows else "not all of them can be"
    return (f"The ids of the answers were read as {OWN_IDS}; {doubt} {ROWS}, {_apart(num_apart)}.",)


def _apart(num_apart: int) -> str:
    return f"which would mean other samples for {num_apart} of them"


def matched(given: Sequence[GivenAnswer], reading: IdReading, bad: FileFaults) -> dict[int, Answer]:
    """Row -> answer; ids that are unknown or repeated go to `bad`."""
    answers: dict[int, Answer] = {}
    line_of_row: dict[int, int] = {}
    for item in given:
        with bad.at(f"line {item.line}"):
            row = reading.row_of(item.given_id)
            if row in line_of_row:
                shown = row_fields.short(item.given_id)
                raise ValueError(f"id {shown} repeats that of line {line_of_row[row]}")
            line_of_row[row] = item.line
            answers[row] = item.answer
    return answers
