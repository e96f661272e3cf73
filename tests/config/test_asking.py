"""Whether times are read in words or found by heads follows from the checkpoint, and may be asked for."""

from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from museg.config.asking import chosen_asking
from museg.config.command_line import composed_jobs
from museg.config.evaluation_schema import LocalizationConfig
from museg.evaluation.et_bench_annotations import TASKS
from museg.evaluation.located_answers import LocatedAnswers
from museg.evaluation.written_answers import WrittenAnswers
from museg.meco.alignment import AlignmentHeads
from museg.meco.exported import AlignmentFacts, save_heads
from museg.meco.localization import LocalizationSettings
from tests.config.benchmark_options import BENCHMARKS
from tests.config.options import CONF

OWN = LocalizationSettings(threshold=0.6, include_last_step=True)


@pytest.fixture
def folder(tmp_path):
    """What matters of a checkpoint with heads."""
    save_heads(tmp_path, AlignmentHeads(8).state_dict(), AlignmentFacts(-3, -2, False, OWN))
    return tmp_path


def settings(*overrides: str) -> dict:
    (config,) = composed_jobs(overrides, CONF, "evaluate", is_multirun=False)
    return OmegaConf.to_container(config, resolve=True)


def test_heads_are_used_where_they_are(folder, tmp_path_factory):
    asking = chosen_asking(settings(), folder)
    assert isinstance(asking, LocatedAnswers) and asking.localization == OWN
    assert (asking.record.token_layer, asking.record.frame_layer) == (-3, -2)
    assert isinstance(chosen_asking(settings(), tmp_path_factory.mktemp("plain")), WrittenAnswers)


def test_the_way_may_be_asked_for(folder, tmp_path_factory):
    written = chosen_asking(settings("inference.answers=written"), folder)
    assert isinstance(written, WrittenAnswers) and written.wording.before_video == "cite {query}"
    with pytest.raises(ValueError, match="has no alignment_heads"):
        chosen_asking(settings("inference.answers=located"), tmp_path_factory.mktemp("plain"))


def test_options_go_before_the_benchmark_and_that_before_the_checkpoint(folder):
    released = chosen_asking(settings("benchmark=qvhighlights"), folder).localization
    assert (released.score, released.competition, released.dilation_steps) == ("probability", False, 0)
    assert (released.threshold, released.include_last_step) == (0.6, True)
    own = ("inference.localization.score=cosine", "inference.localization.threshold=0.1")
    chosen = chosen_asking(settings("benchmark=qvhighlights", *own), folder).localization
    assert (chosen.score, chosen.threshold, chosen.competition) == ("cosine", 0.1, False)


def test_options_of_localization_are_no_wish_without_effect(tmp_path):
    with pytest.raises(ValueError, match=r"inference\.localization\.threshold is for answers that heads locate"):
        chosen_asking(settings("inference.localization.threshold=0.1"), tmp_path)


def test_every_setting_of_localization_can_be_changed():
    assert {item.name for item in fields(LocalizationConfig)} == {item.name for item in fields(LocalizationSettings)}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_can_be_asked(folder, name):
    own = [f"benchmark.annotations={__file__}"] if name == "jsonl" else []
    asking = chosen_asking(settings(f"benchmark={name}", *own), folder)
    assert "{query}" in asking.wording_of("tvg").before_video  # the query lets the states of the video depend on it
    assert "<think>" not in asking.wording_of("tvg").before_video + asking.wording_of("tvg").after_video


@pytest.mark.parametrize("name", ["et_bench", "et_bench_subset"])
def test_every_task_of_et_bench_has_its_question(folder, name):
    asking = chosen_asking(settings(f"benchmark={name}"), folder)
    assert set(asking.wordings.questions) == set(TASKS)
    for task in TASKS:
        question = asking.wordings.questions[task]
        if task in ("rar", "rvq"):  # asked for words, as they stand
            assert question.of("Which? The format of your response should be A.").endswith("be A.")
            assert asking.wording_of(task).before_video == "{query}\n"
        else:
            assert question.until in ("The format of your response should", "Watch the video carefully")
            assert "mark" in asking.wording_of(task).before_video
