"""Models that write events are asked, answer and are scored like others; what decides their answers is on record."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from museg.dialogue.prompts import PromptWording
from museg.evaluation.answering import Answerer
from museg.evaluation.located_answers import LocatedAnswers, StructureWordings, TaskQuestion, located_record
from museg.evaluation.rules import make_rule
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.saved_answers import SALIENCY, WINDOWS, read_answers
from museg.evaluation.score import score
from museg.meco.alignment import AlignmentHeads
from museg.meco.exported import Alignment, AlignmentFacts
from museg.meco.localization import LocalizationSettings
from museg.meco.located import Located
from museg.meco.tokens import add_structural_tokens
from museg.policy.loading import load_checkpoint
from museg.policy.rollout import RolloutSettings
from museg.policy.tiny import build_tiny
from museg.temporal.segments import Segment
from tests.evaluation import small_answers
from tests.evaluation.small_answers import CLIP_OF_ROW, SAMPLES, answer, lines_of
from tests.evaluation.test_located_texts import COMPLETION, NOTHING, found
from tests.policy.drawn_clips import drawn_clip

PLAIN, STRUCTURE = (PromptWording("", words, "") for words in ("{query}", "{query} in events"))
QUESTIONS = {"tvg": TaskQuestion(until="Say", then="Describe it."), "rar": TaskQuestion(wording="plain")}
WORDINGS = StructureWordings({"plain": PLAIN, "structure": STRUCTURE}, "structure", QUESTIONS)
LOCALIZATION = LocalizationSettings(dilation_steps=0, include_last_step=True)
FACTS = AlignmentFacts(-2, -1, False, LOCALIZATION)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return small_answers.made_benchmark_of_events(tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory) -> Path:
    """What an undisturbed process writes."""
    output = tmp_path_factory.mktemp("whole")
    answer(folder, output)
    return output


def test_every_record_holds_the_words_and_what_was_found(whole):
    records = lines_of(whole / "predictions.jsonl")
    assert [record["row"] for record in records] == list(range(12))
    assert set(records[0]) == {"id", "row", "completion", "num_tokens", "fault", "output", "located"}
    with_events = [record for record in records if "<ent>" in record["completion"]]
    assert with_events
    for record in records:
        assert (record["fault"] is None) == bool(record["output"]) == bool(record["located"])
        scores = [one["score"] for one in record["located"]]
        assert scores == sorted(scores, reverse=True)
        duration_s = 6 + CLIP_OF_ROW[record["row"]]  # an odd number of frames fills no whole number of steps of 2 s
        assert all(0 <= one["segment"][0] < one["segment"][1] <= duration_s for one in record["located"])
    (best, *_) = (record for record in with_events if record["located"])
    start_s, end_s = best["located"][0]["segment"]
    assert best["output"] == f"{start_s:.3f} - {end_s:.3f}"  # the questions ask for one


def test_the_header_says_how_times_were_found(folder, whole, tmp_path):
    header = json.loads((whole / "predictions.jsonl").read_text().splitlines()[0])["header"]["answering"]
    assert header["answers"] == "located" and header["localization"]["threshold"] == 0.7
    assert header["wording"]["structure"]["before_video"] == "cite {query}"
    other = small_answers.asking_of(folder)
    other.localization = replace(other.localization, threshold=0.5)
    with pytest.raises(ValueError, match=r"answering\.localization\.threshold: 0\.7 -> 0\.5"):
        answer(folder, whole, told={"asking": other})


@pytest.fixture(scope="module")
def disturbed(folder, tmp_path_factory) -> dict[str, Path]:
    """Folders of a process that was killed between batches, and of one that was while it wrote one."""
    killed = {
        "between": (small_answers.answer_and_die_after, 3),
        "writing": (small_answers.answer_and_die_writing, 3, 0.5),
    }
    outputs = {name: tmp_path_factory.mktemp(name) for name in killed}
    calls = [(target, (folder, outputs[name], *place)) for name, (target, *place) in killed.items()]
    assert small_answers.exit_codes_of(*calls) == [-9, -9]
    return outputs


@pytest.mark.parametrize("name", ["between", "writing"])
def test_killed_and_started_again(folder, whole, disturbed, name):
    assert not (disturbed[name] / "predictions.jsonl").exists()
    answer(folder, disturbed[name])
    assert (disturbed[name] / "predictions.jsonl").read_bytes() == (whole / "predictions.jsonl").read_bytes()


def test_the_released_rule_reads_them(whole):
    saved = read_answers(whole / "predictions.jsonl", SAMPLES, "released_tvg")
    assert saved.notes == ()
    scored = score(SAMPLES, saved.answers, make_rule("released_tvg"))
    for reading, record in zip(scored.readings, lines_of(whole / "predictions.jsonl"), strict=True):
        expected = [pytest.approx(one["segment"], abs=1e-3) for one in record["located"][:1]]
        assert [list(segment) for segment in reading.segments] == expected
        assert reading.failure == (None if expected else "no_event")


# ---- one record


def highlight_sample() -> BenchmarkSample:
    return BenchmarkSample("7", 0, "mr", "qvhighlights", "7.mp4", "?", (Segment(10, 14),), 16.0, {})


def test_moments_have_scores_and_saliency(tmp_path):
    record = located_record(highlight_sample(), COMPLETION, 9, found())
    assert record[WINDOWS] == [(10.0, 14.0, 0.8), (4.0, 8.0, 0.6)]
    # a step is a clip of two seconds; the mean of both events' softmax, of which no number is negligible here
    saliency = np.array(record[SALIENCY])
    assert len(saliency) == 8 and saliency.argmax() == 6 and saliency.sum() == pytest.approx(1, abs=1e-4)
    file = tmp_path / "ours.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in ({"header": {}}, record)))
    given = read_answers(file, [highlight_sample()], "moment_retrieval").answers[0]
    assert given.windows == ((10.0, 14.0, 0.8), (4.0, 8.0, 0.6)) and given.fault is None
    assert given.completion == COMPLETION and len(given.saliency) == 8


def test_an_answer_without_events_is_one_that_names_no_moment(tmp_path):
    record = located_record(highlight_sample(), "<tst>", 2, NOTHING)
    assert record["fault"] == "no_event" and WINDOWS not in record
    file = tmp_path / "ours.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in ({"header": {}}, record)))
    rule = make_rule("moment_retrieval")
    scored = score([highlight_sample()], read_answers(file, [highlight_sample()], rule.name).answers, rule)
    report = scored.report("qvhighlights")
    assert report["failures"]["kinds"] == {"no_event": 1}
    # the whole video stands in for it, as in the published tool: 4 of 16 seconds are right
    assert report["groups"]["moments"]["official"]["MR-full-mIoU"] == pytest.approx(25.0)


def test_words_without_any_are_empty():
    sample = replace(highlight_sample(), task="rar")
    assert located_record(sample, "<tst>", 2, NOTHING)["fault"] == "empty"
    assert located_record(sample, "B", 2, NOTHING)["fault"] is None


# ---- how it is asked


def asking() -> LocatedAnswers:
    return LocatedAnswers(WORDINGS, Alignment(AlignmentHeads(96), FACTS), LOCALIZATION)


@pytest.mark.parametrize(
    ("task", "question", "expected"),
    [
        ("tvg", "When does it rain? Say it in seconds.", "When does it rain?\nDescribe it."),
        ("tvg", "When does it rain?", "When does it rain?\nDescribe it."),
        ("tvg", "Say it.", "Describe it."),
        ("rar", "Which? Say a letter.", "Which? Say a letter."),
        ("tal", "When? Say it.", "When? Say it."),
    ],
)
def test_questions_lose_the_form_of_times(task, question, expected):
    sample = replace(SAMPLES[0], task=task, question=question)
    assert asking().example_of(sample).query == expected


def test_tasks_may_have_a_wording_of_their_own():
    assert asking().wording_of("rar") == PLAIN
    assert asking().wording_of("tvg") == asking().wording_of("tal") == STRUCTURE
    assert set(asking().facts()["wording"]) == {"plain", "structure"}
    assert json.loads(json.dumps(asking().facts())) == asking().facts()


def test_an_unknown_wording_is_refused():
    with pytest.raises(ValueError, match=r"no wording sung .*choose of structure"):
        StructureWordings({"structure": STRUCTURE}, "structure", {"tvg": TaskQuestion(wording="sung")})


def test_questions_in_different_words_are_answered_together(folder):
    samples = [replace(SAMPLES[place], task=task) for place, task in enumerate(("rar", "tvg", "rar"))]
    drawn = [drawn_clip(place) for place in range(3)]
    clips = [
        replace(clip, example=replace(clip.example, task=one.task)) for clip, one in zip(drawn, samples, strict=True)
    ]
    policy = load_checkpoint(str(folder / "checkpoint"))
    limits = RolloutSettings(num_generations=1, max_new_tokens=6)
    together = Answerer(policy, asking(), limits, feature_cache_mib=1).answer(samples, clips)
    assert [record["row"] for record in together] == [0, 1, 2]
    alone = Answerer(policy, asking(), limits, feature_cache_mib=1).answer(
        [samples[1]], [replace(clips[1], position=0)]
    )
    assert [record["completion"] for record in alone] == [together[1]["completion"]]


def test_heads_of_another_model_are_refused():
    policy = build_tiny(seed=0)
    with pytest.raises(ValueError, match="the tokenizer has no <ent>"):
        asking().check(policy)
    add_structural_tokens(policy.tokenizer, policy.model)
    width = policy.model.config.text_config.hidden_size
    others = Alignment(AlignmentHeads(2 * width), FACTS)
    with pytest.raises(ValueError, match=f"{2 * width} wide, and this one is {width} wide"):
        LocatedAnswers(WORDINGS, others, LOCALIZATION).check(policy)
    LocatedAnswers(WORDINGS, Alignment(AlignmentHeads(width), FACTS), LOCALIZATION).check(policy)


def test_of_a_picture_nothing_is_found():
    nothing = Located((), np.zeros((0, 0)), 14.0, 0.0, ())
    assert located_record(SAMPLES[0], "a red square", 4, nothing)["fault"] == "no_event"
