import pytest

from museg.evaluation.et_bench_rule import EtBenchRule
from museg.evaluation.grounding_rules import ReleasedGroundingRule
from museg.evaluation.samples import Answer, BenchmarkSample
from museg.evaluation.saved_answers import read_answers
from museg.evaluation.written_answers import answer_record
from tests.evaluation.annotation_files import lines_file, list_file, without

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
        "result": {"output": output, "conversation": ["user: <video>When?", f"assistant: <answer>{output}</answer>"]},
    }


GROUNDING = [grounding_entry(0, "1-2"), grounding_entry(1, "<answer>3-4</answer>")]


def answers_in(folder, *entries):
    return read_answers(list_file(folder, *entries), SAMPLES, "released_tvg").answers


@pytest.mark.parametrize("tail", [[STATISTICS], []])
def test_output_of_the_grounding_script(tmp_path, tail):
    # the text is extracted already: extracting once more would empty it
    raw = "<answer><answer>3-4</answer></answer>"
    assert answers_in(tmp_path, *GROUNDING, *tail) == {
        0: Answer("1-2", "<answer>1-2</answer>"),
        1: Answer("<answer>3-4</answer>", raw),
    }


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
    raw = "<answer> 3-4</answer>"
    answers = answers_in(tmp_path, et_entry(5, a="3-4", c=["user: when?", f"assistant: {raw}"]), et_entry(4, a="5"))
    assert answers == {0: Answer("5"), 1: Answer("3-4", raw)}


def test_entries_of_the_et_bench_script_without_a_text_are_counted_failures(tmp_path):
    assert answers_in(tmp_path, et_entry(5), et_entry(4, a=7)) == {0: Answer("", fault="not_text"), 1: MISSING}
    assert answers_in(tmp_path, et_entry(5, a="x")) == {0: MISSING, 1: Answer("x")}


def test_output_for_all_of_et_bench_answers_a_subset(tmp_path):
    path = list_file(tmp_path, et_entry(5, a="3-4"), et_entry(4, a="1-2"))
    saved = read_answers(path, SAMPLES[1:], "et_bench", unasked=SAMPLES[:1])
    assert saved.answers == {1: Answer("3-4")}
    assert saved.notes == (
        "1 answer(s) in the file are to samples that this benchmark does not ask; they are left out.",
    )
    with pytest.raises(ValueError, match="'tvg/star/4' is no task/source/idx of the annotation"):
        read_answers(path, SAMPLES[1:], "et_bench")


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


@pytest.mark.parametrize(
    ("conversation", "completion", "fault"),
    [
        (["user: when?", "assistant: from 3 to 4"], "from 3 to 4", "no_answer_block"),
        (["user: when?", "assistant: <answer> </answer>"], "<answer> </answer>", "empty"),
        (["user: <answer></answer>"], None, "empty"),  # the question alone
        ([], None, "empty"),
        ([{"role": "assistant"}], None, "empty"),
        ("assistant: x", None, "empty"),
        (None, None, "empty"),
    ],
)
def test_an_empty_text_fails_as_its_raw_text_would(tmp_path, conversation, completion, fault):
    expected = Answer("", completion, fault)
    result = {"output": "", "conversation": conversation}
    assert answers_in(tmp_path, GROUNDING[0], {**GROUNDING[1], "result": result})[1] == expected
    assert answers_in(tmp_path, et_entry(5, a="", c=conversation))[1] == expected
    if completion is not None:
        line = {"id": 1, "completion": completion}
        assert read_answers(lines_file(tmp_path, line), SAMPLES, "released_tvg").answers[1] == expected


RULES = {"released_tvg": ReleasedGroundingRule("tvg"), "et_bench": EtBenchRule(captions=False)}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("completion", "kind"), [("so", "no_answer_block"), ("<answer></answer>", "empty")])
def test_every_way_to_give_an_answer_has_the_same_kind_of_failure(tmp_path, rule, completion, kind):
    conversation = ["user: when?", f"assistant: {completion}"]
    given = [
        list_file(tmp_path, GROUNDING[0], {**GROUNDING[1], "result": {"output": "", "conversation": conversation}}),
        list_file(tmp_path, et_entry(5, a="", c=conversation), name="et.json"),
        lines_file(tmp_path, {"id": 1, "completion": completion}),
        lines_file(tmp_path, {"id": 1, "output": "", "completion": completion}, name="both.jsonl"),
        lines_file(tmp_path, {"header": {}}, answer_record(SAMPLES[1], completion, 3), name="ours.jsonl"),
    ]
    answers = [read_answers(path, SAMPLES, rule).answers[1] for path in given]
    assert [RULES[rule].read(SAMPLES[1], answer).failure for answer in answers] == [kind] * len(given)
