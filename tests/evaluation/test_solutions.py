import json

import pytest

from museg.evaluation.solutions import num_not_text, score_completions
from tests.evaluation.annotation_files import lines_file
from tests.rewards.reward_options import load_mix

PERFECT = {"completion": "<think>2.0 and 5.0</think><answer>2-5</answer>", "solution": [[2, 5]]}


def scores_of(folder, *lines, off=(), reward="sequential"):
    return list(score_completions(lines_file(folder, *lines), load_mix(reward), off))


def test_every_term_is_told(tmp_path):
    (line,) = scores_of(tmp_path, {**PERFECT, "prompt": "ignored"})
    assert list(line) == ["id", "total", "terms"] and list(line["terms"]) == [
        "format",
        "timestamp",
        "coverage",
        "local",
    ]
    # format 1, both times cited, coverage just below 1, local exactly 1
    assert (line["terms"]["format"], line["terms"]["timestamp"], line["terms"]["local"]) == (1.0, 0.0, 1.0)
    assert line["terms"]["coverage"] == pytest.approx(1, abs=1e-5)
    assert line["total"] == pytest.approx(3, abs=1e-5)


def test_a_term_may_be_left_out(tmp_path):
    uncited = {**PERFECT, "completion": "<think>so</think><answer>2-5</answer>"}
    (on,), (off,) = scores_of(tmp_path, uncited), scores_of(tmp_path, uncited, off=("timestamp",))
    assert on["terms"]["timestamp"] == -0.4 and "timestamp" not in off["terms"]
    assert off["total"] - on["total"] == pytest.approx(0.4)


def test_id_is_the_lines_own_or_its_number_from_0(tmp_path):
    lines = scores_of(tmp_path, PERFECT, b"", {**PERFECT, "id": "mine"}, {**PERFECT, "id": 77}, {**PERFECT, "id": None})
    assert [line["id"] for line in lines] == [0, "mine", 77, 4]


@pytest.mark.parametrize(
    ("solution", "reads_coverage", "reads_local"),
    [
        ([[2, 5]], True, True),
        ([[2, 5, 9]], True, True),  # two numbers of each entry count
        ([2, 5], True, False),  # a bare pair of whole numbers: coverage alone takes it
        ([2.0, 5.0], False, False),
        ([[2], [5]], False, False),
        ([[2, 5], 7], False, False),
    ],
)
def test_each_reward_reads_the_solution_as_released(tmp_path, solution, reads_coverage, reads_local):
    (line,) = scores_of(tmp_path, {**PERFECT, "solution": solution})
    assert line["terms"]["coverage"] == pytest.approx(float(reads_coverage), abs=1e-5)
    assert line["terms"]["local"] == float(reads_local)
    assert line["terms"]["format"] == 1.0  # asks for no solution
    assert line["total"] == pytest.approx(sum(line["terms"].values()))


@pytest.mark.parametrize("completion", [None, 5, float("nan"), True, ["<answer>2-5</answer>"], {"text": ""}])
@pytest.mark.parametrize("reward", ["sequential", "sequential_paper"])
def test_what_is_no_text_earns_what_an_empty_completion_does(tmp_path, completion, reward):
    answered, spoilt, empty = scores_of(
        tmp_path, PERFECT, {**PERFECT, "completion": completion}, {**PERFECT, "completion": ""}, reward=reward
    )
    assert spoilt == {"id": 1, "total": empty["total"], "terms": empty["terms"], "fault": "not_text"}
    assert "fault" not in answered and "fault" not in empty
    assert num_not_text([answered, spoilt, empty]) == 1


def test_another_mix_weighs_its_terms(tmp_path):
    (line,) = scores_of(tmp_path, PERFECT, reward="sequential_paper")
    # format 1 + cited 1 + (coverage 1 + local 1) / 2
    assert line["total"] == pytest.approx(3, abs=1e-5) and line["terms"]["timestamp"] == 1.0
    (bare,) = scores_of(tmp_path, {**PERFECT, "solution": [2, 5]}, reward="sequential_paper")
    # its overlap ratio is not the released reward, so that a bare pair is nothing to it
    assert bare["terms"]["coverage"] == 0.0 and bare["total"] == 2.0


BAD = [
    (b"{", "is not JSON"),
    (b"\xff", "is not UTF-8"),
    (b"5", "is not a JSON object"),
    ({"solution": [[0, 1]]}, "lacks completion"),
    ({"completion": "x"}, "lacks solution"),
    ({"completion": None, "solution": None}, "solution must be a list"),
    ({"completion": "x", "solution": "0-1"}, "solution must be a list"),
    ({"completion": "x", "solution": [["0", 1]]}, "solution must hold seconds"),
    ({"completion": "x", "solution": [[0, float("nan")]]}, "finite seconds"),
    ({"completion": "x", "solution": [[0, [1]]]}, "solution must hold seconds"),
    ({**PERFECT, "id": 1.5}, "id must be"),
    ({**PERFECT, "id": 0}, "id 0 repeats that of line 1"),
]


@pytest.mark.parametrize(("line", "rule"), BAD)
def test_unusable_line_is_named_before_anything_is_scored(tmp_path, line, rule):
    scores = score_completions(lines_file(tmp_path, PERFECT, line), load_mix("sequential"), ())
    with pytest.raises(ValueError, match=rf"rows\.jsonl: 1 row\(s\)[\s\S]*line 2: .*{rule}"):
        next(scores)


def test_file_without_completions_is_refused(tmp_path):
    with pytest.raises(ValueError, match="holds no completions"):
        scores_of(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        next(score_completions(tmp_path / "none.jsonl", load_mix("sequential"), ()))


@pytest.mark.parametrize("text", ["1", "-", "1-1 ", "<think>", "\0", "\ud800"])
def test_hostile_completions_score(tmp_path, text):
    completion = f"<think></think><answer>{text * 100_000}</answer>"
    (line,) = scores_of(tmp_path, {"completion": completion, "solution": [[0, 1]]})
    assert json.dumps(line)
