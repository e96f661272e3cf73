import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.samples import Answer, BenchmarkSample
from museg.evaluation.saved_answers import read_answers
from museg.evaluation.written_answers import answer_record
from tests.evaluation.annotation_files import lines_file

MISSING = Answer("", fault="missing")


def samples_of(*ids: str) -> list[BenchmarkSample]:
    return [
        BenchmarkSample(name, row, "tvg", "charades", f"{row}.mp4", f"question {row}", (), None)
        for row, name in enumerate(ids)
    ]


THREE = samples_of("0", "1", "2")


def answers_in(folder, *lines, samples=THREE, rule="released_tvg"):
    return saved_in(folder, *lines, samples=samples, rule=rule).answers


def saved_in(folder, *lines, samples=THREE, rule="released_tvg", unasked=()):
    return read_answers(lines_file(folder, *lines), samples, rule, unasked)


def test_output_is_used_as_it_is(tmp_path):
    answers = answers_in(tmp_path, {"id": 2, "output": " <answer>1-2</answer> "}, {"id": "0", "output": "3-4"})
    assert answers == {0: Answer("3-4"), 1: MISSING, 2: Answer(" <answer>1-2</answer> ")}
    assert list(answers) == [0, 1, 2]


def test_completion_is_read_for_its_only_answer_block(tmp_path):
    raw = "<think>a</think><answer>\n 1-2 </answer>"
    twice = "<answer>1-2</answer><answer>3-4</answer>"
    answers = answers_in(
        tmp_path, {"id": 0, "completion": raw}, {"id": 1, "completion": twice}, {"id": 2, "completion": "1-2"}
    )
    assert answers[0] == Answer("1-2", raw)
    assert answers[1] == Answer("", twice, "no_answer_block")
    assert answers[2] == Answer("", "1-2", "no_answer_block")


@pytest.mark.parametrize("key", ["output", "completion"])
@pytest.mark.parametrize("value", [None, 5, ["1-2"], {"text": "1-2"}, True])
def test_what_is_no_text_is_a_counted_failure(tmp_path, key, value):
    answers = answers_in(tmp_path, {"id": 0, key: value})
    assert answers[0] == Answer("", fault="not_text")


def test_predictions_written_here(tmp_path):
    header = {"header": {"checkpoint": "tiny"}}
    fine = {"id": "0", "row": 0, "completion": "<answer>1-2</answer>", "num_tokens": 3, "fault": None, "output": "1-2"}
    unread = {"id": "1", "row": 1, "completion": "", "num_tokens": 0, "fault": "unreadable_video", "output": ""}
    answers = answers_in(tmp_path, header, fine, unread)
    assert answers[0] == Answer("1-2", "<answer>1-2</answer>")
    assert answers[1] == Answer("", "", "unreadable_video")


def test_a_fault_is_believed_below_a_header_only(tmp_path):
    assert answers_in(tmp_path, {"id": 0, "output": "1-2", "fault": "unreadable_video"})[0] == Answer("1-2")


def test_the_kind_of_ids_is_told_with_what_is_missing(tmp_path):
    saved = saved_in(tmp_path, {"id": 0, "output": "a"}, samples=samples_of("1", "0"))
    assert saved.answers == {0: MISSING, 1: Answer("a")}  # row 1 has the id 0
    kind, missing = saved.notes
    assert "own ids of the annotation; all of them could also be rows" in kind
    assert missing == "1 of 2 samples have no answer in the file; they count as failures."


def test_a_file_that_says_it_all_needs_no_notes(tmp_path):
    lines = [{"id": row, "output": "1-2"} for row in range(3)]
    assert saved_in(tmp_path, *lines).notes == ()


def test_ids_of_predictions_written_here_are_own_ids(tmp_path):
    lines = [answer_record(sample, "<answer>1-2</answer>", 3) for sample in samples_of("1", "0")]
    saved = saved_in(tmp_path, {"header": {}}, *lines, samples=samples_of("1", "0"))
    assert saved.notes == () and saved.answers[0].text == "1-2"
    with pytest.raises(ValueError, match="line 2: id '1' is none of the own ids of the annotation"):
        saved_in(tmp_path, {"header": {}}, lines[0], samples=samples_of("x", "y"))


def test_answers_to_samples_that_are_not_asked_are_left_out_and_counted(tmp_path):
    every = samples_of("tvg/a/0", "tvg/a/1", "tvg/a/2", "tvg/a/3")
    asked, others = every[1::2], every[::2]
    told = "2 answer(s) in the file are to samples that this benchmark does not ask; they are left out."
    by_id = saved_in(
        tmp_path, *({"id": s.sample_id, "output": str(s.row)} for s in every), samples=asked, unasked=others
    )
    assert by_id.answers == {1: Answer("1"), 3: Answer("3")} and by_id.notes == (told,)
    rows = [{"id": row, "output": str(row)} for row in range(4)]
    by_row = saved_in(tmp_path, *rows, samples=asked, unasked=others)
    assert by_row.answers == by_id.answers and by_row.notes[1:] == (told,) and "rows" in by_row.notes[0]
    with pytest.raises(ValueError, match=r"line 5: id '4' is neither an id nor a row \(0 to 3\)"):
        saved_in(tmp_path, *rows, {"id": 4, "output": ""}, samples=asked, unasked=others)
    with pytest.raises(ValueError, match="line 5: id '0' repeats that of line 1"):
        saved_in(tmp_path, *rows, rows[0], samples=asked, unasked=others)


def test_ids_of_et_bench(tmp_path):
    samples = samples_of("tvg/qvhighlights/0", "epm/ego4d_nlq/0")
    assert answers_in(tmp_path, {"id": "epm/ego4d_nlq/0", "output": "a"}, samples=samples)[1] == Answer("a")
    assert answers_in(tmp_path, {"id": 1, "output": "a"}, samples=samples)[1] == Answer("a")


WINDOWS = {"qid": 1, "pred_relevant_windows": [[0, 2.5, 0.9], [4, 6, 0.1]], "pred_saliency_scores": [0.5, 1]}


def test_scored_windows(tmp_path):
    answers = answers_in(tmp_path, WINDOWS, rule="moment_retrieval")
    assert answers[1].windows == ((0.0, 2.5, 0.9), (4.0, 6.0, 0.1)) and answers[1].saliency == (0.5, 1.0)
    assert answers[1].text == "" and answers[1].fault is None
    bare = answers_in(tmp_path, {"id": 0, "pred_relevant_windows": []}, rule="moment_retrieval")
    assert bare[0].windows == () and bare[0].saliency is None


def test_a_qid_is_never_a_row(tmp_path):
    samples = samples_of("2", "0", "1")
    saved = saved_in(tmp_path, *({**WINDOWS, "qid": qid} for qid in range(3)), samples=samples, rule="moment_retrieval")
    assert saved.notes == ()
    with pytest.raises(ValueError, match="id '1' is none of the own ids"):
        saved_in(tmp_path, WINDOWS, samples=samples_of("7", "8"), rule="moment_retrieval")


@pytest.mark.parametrize(
    "fields",
    [
        {"pred_relevant_windows": None},
        {"pred_relevant_windows": [[0, 1]]},
        {"pred_relevant_windows": [[0, 1, float("nan")]]},
        {"pred_relevant_windows": [[0, 10**400, 1]]},
        {"pred_relevant_windows": [["0", 1, 1]]},
        {"pred_saliency_scores": "high"},
        {"pred_saliency_scores": [float("inf")]},
        {"pred_saliency_scores": [True]},
    ],
)
def test_windows_of_another_shape_are_a_counted_failure(tmp_path, fields):
    assert answers_in(tmp_path, {**WINDOWS, **fields}, rule="moment_retrieval")[1] == Answer("", fault="not_windows")


BAD = [
    (b"{not json", "is not JSON"),
    (b'\xff{"id": 1}', "is not UTF-8"),
    (b"[1]", "is not a JSON object but list"),
    ({"output": "1-2"}, "lacks id"),
    ({"id": 1}, "has neither output nor completion"),
    ({"id": 1.0, "output": ""}, "id must be a whole number or a text, not 1.0"),
    ({"id": True, "output": ""}, "id must be"),
    ({"id": None, "output": ""}, "id must be"),
    ({"id": 3, "output": ""}, r"id '3' is neither an id nor a row \(0 to 2\)"),
    ({"id": -1, "output": ""}, "id '-1' is neither"),
    ({"id": "01", "output": ""}, "id '01' is neither"),
    ({"id": 0, "output": ""}, "id '0' repeats that of line 1"),
    (WINDOWS, "scored by moment retrieval only"),
    ({"header": {}}, "lacks id"),
    (b"[" * 100_000, "is not JSON"),
]


@pytest.mark.parametrize(("line", "rule"), BAD)
def test_unusable_line_is_named(tmp_path, line, rule):
    with pytest.raises(ValueError, match=rf"rows\.jsonl: 1 row\(s\)[\s\S]*line 3: .*{rule}"):
        answers_in(tmp_path, {"id": 0, "output": "1-2"}, b"", line)


def test_all_unusable_lines_are_told_at_once(tmp_path):
    with pytest.raises(ValueError) as raised:
        answers_in(tmp_path, {"id": 0, "output": ""}, *(line for line, _ in BAD))
    assert all(f"line {number}: " in str(raised.value) for number in range(2, len(BAD) + 2))


@pytest.mark.parametrize(("content", "rule"), [(b"", "is empty"), (b"\n \n", "is empty")])
def test_empty_file_is_refused(tmp_path, content, rule):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rule):
        read_answers(path, THREE, "released_tvg")
    with pytest.raises(ValueError, match="does not exist"):
        read_answers(tmp_path / "none.jsonl", THREE, "released_tvg")


@pytest.mark.parametrize("text", ["1", ".", "1.", "-", "1-", " ", "<answer>", "\0", "\ud800"])
def test_ten_megabytes_are_read_in_seconds(tmp_path, text):
    long = text * (10_000_000 // len(text))
    path = lines_file(tmp_path, {"id": 0, "output": long}, {"id": 1, "completion": f"<answer>{long}</answer>"})
    started = time.perf_counter()
    answers = read_answers(path, THREE, "released_tvg").answers
    assert time.perf_counter() - started < 3
    assert answers[0].text == long
    if text == "<answer>":
        assert answers[1].fault == AnswerFault.NO_ANSWER_BLOCK
    else:
        assert answers[1].text == long.strip()


@given(st.dictionaries(st.sampled_from(["output", "completion"]), st.none() | st.text() | st.integers(), min_size=1))
def test_any_answer_is_taken(tmp_path_factory, fields):
    answers = answers_in(tmp_path_factory.mktemp("any"), {"id": 0, **fields})
    assert len(answers) == 3 and isinstance(answers[0].text, str)
    if "output" in fields and isinstance(fields["output"], str):
        assert answers[0].text == fields["output"]


def test_faults_are_written_as_their_values():
    assert json.dumps(AnswerFault.MISSING) == '"missing"'
