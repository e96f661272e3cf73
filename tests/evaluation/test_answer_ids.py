import pytest

from museg.data.file_faults import FileFaults
from museg.evaluation.answer_ids import GivenAnswer, matched, read_ids
from museg.evaluation.samples import Answer, BenchmarkSample


def samples_of(*ids):
    return [BenchmarkSample(name, row, "tvg", "made", "a.mp4", "when?", (), None) for row, name in enumerate(ids)]


def rows_and_notes(given_ids, *ids, are_own=False):
    reading, notes = read_ids(given_ids, samples_of(*ids), are_own=are_own)
    return [reading.row_of(given_id) for given_id in given_ids], notes


def test_ids_that_can_be_one_kind_only_or_mean_the_same_are_plain():
    assert rows_and_notes(["0", "2"], "0", "1", "2") == ([0, 2], ())
    assert rows_and_notes(["b", "a"], "a", "b") == ([1, 0], ())
    assert rows_and_notes([], "a") == ([], ())


def test_rows_are_told():
    rows, (note,) = rows_and_notes(["1", "0"], "a", "b")
    assert rows == [1, 0]
    assert note == (
        "The ids of the answers were read as rows of the annotation file, counted from 0: not all of them are own ids "
        "of the annotation."
    )


def test_what_could_be_either_is_told():
    # 1 and 0 are ids of rows 0 and 1
    rows, (note,) = rows_and_notes(["0", "1", "2"], "1", "0", "2")
    assert rows == [1, 0, 2]
    assert note == (
        "The ids of the answers were read as own ids of the annotation; all of them could also be rows of the "
        "annotation file, counted from 0, which would mean other samples for 2 of them."
    )


def test_what_is_one_kind_in_all_lines_and_the_other_in_some_is_told():
    rows, (note,) = rows_and_notes(["1", "7"], "1", "7")  # 7 is no row; 1 is row 1, but the id of row 0
    assert rows == [0, 1] and "own ids of the annotation; not all of them can be rows" in note
    rows, (note,) = rows_and_notes(["0", "2"], "1", "0", "x")  # 2 is no id; 0 is row 0, but the id of row 1
    assert rows == [0, 2]
    assert note.endswith("not all of them are own ids of the annotation, which would mean other samples for 1 of them.")


def test_ids_known_to_be_own_are_never_rows():
    assert rows_and_notes(["0", "1"], "1", "0", are_own=True) == ([1, 0], ())
    with pytest.raises(ValueError, match="id '0' is none of the own ids of the annotation"):
        rows_and_notes(["0"], "a", are_own=True)


@pytest.mark.parametrize(
    ("given_ids", "rule"),
    [
        (["a", "b", "2"], "line 3: id '2' is one of the rows of the annotation file.* the others are own ids"),
        (["0", "1", "c"], "line 3: id 'c' is one of the own ids of the annotation, but the others are rows"),
        (["0", "1", "3"], r"line 3: id '3' is neither an id nor a row \(0 to 2\)"),
        (["a", "b", "3"], r"line 3: id '3' is neither an id nor a row \(0 to 2\)"),
        (["a", "b", "a"], "line 3: id 'a' repeats that of line 1"),
    ],
)
def test_lines_with_ids_of_another_kind_are_named(tmp_path, given_ids, rule):
    bad = FileFaults(tmp_path / "answers.jsonl")
    reading, _ = read_ids(given_ids, samples_of("a", "b", "c"), are_own=False)
    matched([GivenAnswer(number, name, Answer("")) for number, name in enumerate(given_ids, 1)], reading, bad)
    with pytest.raises(ValueError, match=rf"1 row\(s\)[\s\S]*{rule}"):
        bad.raise_if_any()
