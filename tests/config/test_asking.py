"""Whether times are read in words or found by heads follows from the checkpoint, and may be asked for."""

from dataclasses import fields, replace

import pytest
from omegaconf import OmegaConf

from museg.config.asking import chosen_asking
from museg.config.command_line import composed_jobs
from museg.config.evaluation_schema import LocalizationConfig
from museg.data.captions import captions_of
from museg.data.readers import read_museg_jsonl
from museg.evaluation.et_bench_annotations import TASKS
from museg.evaluation.located_answers import LocatedAnswers
from museg.evaluation.samples import BenchmarkSample
from museg.evaluation.written_answers import WrittenAnswers
from museg.meco.alignment import AlignmentHeads
from museg.meco.exported import AlignmentFacts, save_heads
from museg.meco.localization import LocalizationSettings
from museg.targets import build
from museg.temporal.segments import Segment
from tests.config.benchmark_options import BENCHMARKS
from tests.config.options import CONF, completing, compose
from tests.shared import ANNOTATIONS, require

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
    assert set(asking.wordings.questions) == {*TASKS, "tvc"}  # which training alone asks
    for task in TASKS:
        question = asking.wordings.questions[task]
        if task in ("rar", "rvq"):  # asked for words, as they stand
            assert question.of("Which? The format of your response should be A.").endswith("be A.")
            assert asking.wording_of(task).before_video == "{query}\n"
        else:
            assert question.until in ("The format of your response should", "Watch the video carefully")
            assert "mark" in asking.wording_of(task).before_video


FORMS = (
    "The format of your response should be: 'The event happens in <start time> - <end time> seconds'.",
    "Watch the video carefully and list the times, such as '4.0 - 9.0 seconds, open the door.'",
)


def training_data() -> dict:
    """What `train.py` is told of data that ask for times."""
    given = completing("dataset/et_instruct")
    return OmegaConf.to_container(compose("method=meco", "dataset=et_instruct", *given).dataset, resolve=True)


@pytest.fixture(scope="module")
def data():
    """E.T. Instruct as training has it."""
    return build(training_data())


def sample_of(task: str, question: str) -> BenchmarkSample:
    return BenchmarkSample("1", 0, task, "mine", "1.mp4", question, (Segment(1, 2),), 9.0)


@pytest.mark.parametrize("task", ["tvg", "tal", "epm", "vhd", "gvq", "evs", "dvc", "slc"])
def test_training_asks_what_evaluation_asks(task, data, folder):
    """Both without the form that times are asked for in."""
    asking = chosen_asking(settings("benchmark=et_bench"), folder)
    form = FORMS[task in ("evs", "dvc", "slc")]
    evaluated = asking.example_of(sample_of(task, f"Find where 'he waves'. {form}"))
    trained = data.asked_for_events(replace(evaluated, query=f"Find where 'he waves'. {form}"))
    assert trained.query == evaluated.query
    cut, then = trained.query.split("\n")
    assert cut == "Find where 'he waves'." and "seconds" not in then
    assert ("the answer is" in then) == (task == "gvq")  # of which alone templates of captions tell it


def test_of_real_rows_the_question_stays(data, folder):
    """Rows of E.T. Instruct as MUSEG has published them: none has the form, and no word of a question is lost."""
    asking = chosen_asking(settings("benchmark=et_bench"), folder)
    rows = read_museg_jsonl(require(ANNOTATIONS / "train" / "stage_1.jsonl")).examples
    rows = [row for row in rows if "et_instruct_164k" in row.video]
    assert {row.task for row in rows} == {"tvg", "tal"} and len(rows) == 2781  # 5600 less Charades' 2819
    for row in rows:
        put = data.asked_for_events(row)
        kept, _, then = put.query.rpartition("\n")
        assert kept == row.query.strip() and then.startswith("Describe")
        assert put.query == asking.example_of(sample_of(row.task, row.query)).query
        assert captions_of(put) == captions_of(row)
