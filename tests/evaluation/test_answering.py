import pytest

from museg.evaluation.answering import Answerer
from museg.evaluation.written_answers import WrittenAnswers, answer_record
from museg.policy.rollout import RolloutSettings
from museg.policy.tiny import build_tiny
from tests.evaluation.small_answers import WORDING, sample
from tests.policy.drawn_clips import drawn_clip


@pytest.fixture(scope="module")
def policy():
    return build_tiny(seed=0)


@pytest.mark.parametrize(
    ("completion", "fault", "output"),
    [
        ("<think>a</think><answer> 1.0-2.5\n</answer>", None, "1.0-2.5"),
        ("<answer></answer>", None, ""),
        ("1.0-2.5", "no_answer_block", ""),
        ("<answer>1-2</answer><answer>3-4</answer>", "no_answer_block", ""),
        ("</answer>1-2<answer>", "no_answer_block", ""),
        ("", "no_answer_block", ""),
    ],
)
def test_an_answer_is_the_inside_of_the_only_block(completion, fault, output):
    assert answer_record(sample(4, 0), completion, 7) == {
        "id": "small:4",
        "row": 4,
        "completion": completion,
        "num_tokens": 7,
        "fault": fault,
        "output": output,
    }


def test_faults_keep_their_places(policy):
    samples = [sample(row, row) for row in range(4)]
    clips = [drawn_clip(index) for index in (1, 2)]  # at positions 1 and 2; nobody could read 0 and 3
    limits = RolloutSettings(num_generations=1, max_new_tokens=3, max_context_tokens=70)
    answerer = Answerer(policy, WrittenAnswers(WORDING), limits, feature_cache_mib=1)
    records = answerer.answer(samples, clips)
    assert [record["row"] for record in records] == [0, 1, 2, 3]
    assert records[0]["fault"] == records[3]["fault"] == "unreadable_video"
    assert [record["num_tokens"] for record in records] == [0, 3, 3, 0]
    # the tiny tokenizer has about a token a letter: the query "Find all times of 'blue circle'." is longer than "?"
    strict = Answerer(policy, WrittenAnswers(WORDING), RolloutSettings(1, 1, 1.0, 3, 25), feature_cache_mib=1)
    records = strict.answer(samples, clips)
    assert [record["fault"] for record in records][1:3] == ["prompt_too_long", "no_answer_block"]
    assert strict.features.num_encoded == 1  # nothing is encoded for a prompt that cannot be asked
    assert {record["fault"] for record in strict.answer(samples, [])} == {"unreadable_video"}
