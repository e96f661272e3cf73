"""Scoring held-out clips: what a record says, how modes and batches relate, and that the numbers are the records'."""

from dataclasses import replace

import pytest

from museg.dialogue.responses import read_lenient, read_strict
from museg.metrics.keys import columns
from museg.policy.loading import Policy
from museg.policy.rollout import RolloutSettings
from museg.policy.tiny import build_tiny
from museg.temporal.segments import Segment
from museg.training.held_out import Evaluation, HeldOutSet, ReadAnswer, _scored
from tests.policy.drawn_clips import WORDING, drawn_clip

NUM_CLIPS = 5
MODES = ("greedy", "sampled")
SETTINGS = RolloutSettings(num_generations=4, temperature=1.0, max_new_tokens=8)


def held_out_set(batch_size: int = 2, **changed) -> HeldOutSet:
    clips = [drawn_clip(index) for index in range(NUM_CLIPS)]
    return replace(HeldOutSet(clips, WORDING, SETTINGS, batch_size, seed=0), **changed)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return build_tiny(seed=0)


@pytest.fixture(scope="module")
def evaluation(policy) -> Evaluation:
    return held_out_set().evaluate(policy, MODES)


def test_one_record_for_each_clip_and_mode(evaluation):
    expected = {(f"drawn:{index}", mode) for index in range(NUM_CLIPS) for mode in MODES}
    assert {(record["example_id"], record["mode"]) for record in evaluation.predictions} == expected
    assert len(evaluation.predictions) == len(expected)


def test_scores_are_the_means_of_the_records(evaluation):
    for mode in MODES:
        records = [record for record in evaluation.predictions if record["mode"] == mode]
        scores = evaluation.scores[mode]
        assert scores["mean_iou"] == pytest.approx(sum(record["iou"] for record in records) / NUM_CLIPS)
        assert scores["matching_reward"] == pytest.approx(sum(record["reward"] for record in records) / NUM_CLIPS)
        formed = [read_strict(record["text"]).fault is None for record in records]
        assert scores["well_formed_share"] == pytest.approx(sum(formed) / NUM_CLIPS)
        assert scores["num_true_segments"] == 1


def test_every_score_has_its_column(evaluation):
    metrics = evaluation.metrics()
    assert metrics.keys() == {key for key in columns([]) if key.startswith("held_out/")}
    assert metrics["held_out/greedy/mean_iou"] == evaluation.scores["greedy"]["mean_iou"]


@pytest.mark.parametrize("batch_size", [1, NUM_CLIPS])
def test_answers_do_not_depend_on_the_batch(batch_size, evaluation, policy):
    other = held_out_set(batch_size).evaluate(policy, MODES)
    texts = [
        {(r["example_id"], r["mode"]): r["text"] for r in predictions}
        for predictions in (evaluation.predictions, other.predictions)
    ]
    assert texts[0] == texts[1]


def test_samples_follow_the_seed_and_greedy_answers_do_not(evaluation, policy):
    other = held_out_set(seed=1).evaluate(policy, MODES)
    for mode in MODES:
        texts = [[r["text"] for r in e.predictions if r["mode"] == mode] for e in (evaluation, other)]
        assert (texts[0] == texts[1]) == (mode == "greedy")


def test_the_first_clips_alone_get_the_same_answers(evaluation, policy):
    few = held_out_set().first(2).evaluate(policy, ("greedy",))
    greedy = [record for record in evaluation.predictions if record["mode"] == "greedy"]
    assert few.predictions == greedy[:2]
    assert list(few.scores) == ["greedy"]


def read(text: str, *targets: Segment) -> tuple[dict, dict, tuple]:
    clip = drawn_clip(0)
    clip = replace(clip, example=replace(clip.example, targets=targets))
    [answer] = _scored([clip], [ReadAnswer(read_strict(text), read_lenient(text))], [7], "greedy")
    return answer


def test_a_right_answer():
    text = "<think>red square from 1.0 to 2.0</think><answer>1.0-2.0</answer>"
    record, extra, predicted = read(text, Segment(1.0, 2.0))
    assert predicted == (Segment(1.0, 2.0),)
    assert (record["iou"], record["fault"]) == (1.0, None)
    assert record["reward"] == pytest.approx(1.0, abs=1e-6)
    assert extra["well_formed_share"] == extra["timestamps_cited_share"] == 1
    assert extra["completion_tokens"] == 7


def test_an_answer_that_cites_nothing():
    record, extra, _ = read("<think>look</think><answer>1.0-3.0</answer>", Segment(1.0, 2.0))
    assert record["iou"] == 0.5  # one of two seconds
    assert (extra["well_formed_share"], extra["timestamps_cited_share"]) == (1, 0)


def test_an_answer_without_reasoning_is_matched_but_not_well_formed():
    record, extra, predicted = read("<answer>1.0-2.0</answer>", Segment(1.0, 2.0))
    assert predicted == (Segment(1.0, 2.0),) and record["iou"] == 1
    assert record["fault"] == "bad_tags"
    assert (extra["well_formed_share"], extra["timestamps_cited_share"]) == (0, 0)


@pytest.mark.parametrize("text", ["", "no", "<answer>", "<think>a</think><answer>two to three</answer>"])
def test_a_malformed_answer_scores_nothing(text):
    record, extra, predicted = read(text, Segment(1.0, 2.0))
    assert predicted == () and record["iou"] == record["reward"] == 0
    assert extra["well_formed_share"] == 0
