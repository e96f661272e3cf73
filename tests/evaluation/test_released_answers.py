import pytest

from museg.evaluation.samples import Answer, BenchmarkSample
from museg.evaluation.saved_answers import read_answers
from tests.evaluation.annotation_files import list_file, without

SAMPLES = [
    BenchmarkSample(f"tvg/star/{row + 4}", row, "tvg", "star", f"{row}.mp4", f"question {row}", (), None)
    for row in range(2)
]
MISSING = Answer("", fault="missing")
STATISTICS = {"tot": 2, "m_iou": 0.5}


def grounding_entry(row, output):
    return {
        "video": f"{row}.mp4",
        "question": f"question {row}",
        "groundtruth": [[0, 1]],
        "result": {"output": output, "conversation": [{"role": "assistant", "content": output}]},
    }


GROUNDING = [grounding_entry(0, "1-2"), grounding_entry(1, "<answer>3-4</answer>")]


def answers_in(folder, *entries):
    return read_answers(list_file(folder, *entries), SAMPLES, "released_tvg")


@pytest.mark.parametrize("tail", [[STATISTICS], []])
def test_output_of_the_grounding_script(tmp_path, tail):
    # the text is extracted already: extracting once more would empty it
    assert answers_in(tmp_path, *GROUNDING, *tail) == {0: Answer("1-2"), 1: Answer("<answer>3-4</answer>")}


def test_entries_of_the_grounding_script_without_a_text_are_counted_failures(tmp_path):
    one, two = without(GROUNDING[0], "result"), {**GROUNDING[1], "result": {"output": None}}
    assert answers_in(tmp_path, one, two, STATISTICS) == {0: MISSING, 1: Answer("", fault="not_text")}
    broken = {**GROUNDING[1], "result": "3-4"}
    assert answers_in(tmp_path, GROUNDING[0], broken)[1] == Answer("", fault="not_text")


@pytest.mark.parametrize(
    ("entries", "rule"),
    [
        ([GROUNDING[0], STATISTICS], "answers for 1 rows, but the annotation has 2"),
        ([*GROUNDING, GROUNDING[0]], "answers for 3 rows, but the annotation has 2"),
        ([GROUNDING[1], GROUNDING[0]], r"2 row\(s\)[\s\S]*row 0 \(from 0\): video is '1.mp4', but '0.mp4'"),
        ([GROUNDING[0], {**GROUNDING[1], "question": "else"}], r"row 1 \(from 0\): question is 'else'"),
        ([GROUNDING[0], "text"], "row 1 .*is not a JSON object"),
        ([], "neither output of"),
        ([{"id": 0, "output": "1-2"}], "as JSON lines with id and output"),
        ([1, 2], "neither output of"),
    ],
)
def test_other_lists_are_refused(tmp_path, entries, rule):
    with pytest.raises(ValueError, match=rf"rows\.json[\s\S]*{rule}"):
        answers_in(tmp_path, *entries)


def et_entry(idx, **fields):
    return {"task": "tvg", "source": "star", "idx": idx, "video": "0.mp4", "q": "when?", "tgt": [0, 1], **fields}


def test_output_of_the_et_bench_script_in_any_order(tmp_path):
    answers = answers_in(tmp_path, et_entry(5, a="3-4", c="<answer>3-4</answer>"), et_entry(4, a="", c=["x"]))
    assert answers == {0: Answer(""), 1: Answer("3-4", "<answer>3-4</answer>")}


def test_entries_of_the_et_bench_script_without_a_text_are_counted_failures(tmp_path):
    assert answers_in(tmp_path, et_entry(5), et_entry(4, a=7)) == {0: Answer("", fault="not_text"), 1: MISSING}
    assert answers_in(tmp_path, et_entry(5, a="x")) == {0: MISSING, 1: Answer("x")}


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (et_entry(6, a=""), "row 1 .*'tvg/star/6' is no task/source/idx of the annotation"),
        (et_entry(4, a=""), "row 1 .*'tvg/star/4' is answered twice"),
        ({"a": ""}, "row 1 .*lacks task, source, idx"),
        (5, "row 1 .*is not a JSON object"),
    ],
)
def test_bad_entries_of_the_et_bench_script_are_named(tmp_path, entry, rule):
    with pytest.raises(ValueError, match=rf"rows\.json: 1 row\(s\)[\s\S]*{rule}"):
        answers_in(tmp_path, et_entry(4, a="1-2"), entry)
