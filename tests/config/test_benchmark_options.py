"""Every benchmark composes, fits its settings, and asks in words that a model can be asked with."""

from dataclasses import fields

import pytest
from omegaconf import OmegaConf

from museg.config.evaluation_schema import BenchmarkConfig
from museg.config.overview import first_sentence
from museg.dialogue.prompts import PromptWording
from museg.evaluation.benchmarks import BenchmarkSettings
from museg.video.budget import FrameBudget
from tests.config.benchmark_options import BENCHMARKS, benchmark_node, settings_of
from tests.config.options import CONF

NUM_ROWS = {
    "charades_sta": 3720,
    "thumos14": 227,
    "thumos15": 474,
    "perception_test": None,
    "et_bench": 7289,
    "et_bench_subset": 470,
    "qvhighlights": 1550,
    "activitynet_captions": 17031,
    "jsonl": None,
    "synthetic": None,
}


def test_schema_is_the_settings_and_how_a_model_is_asked():
    names = {field.name for field in fields(BenchmarkConfig)}
    assert names == {field.name for field in fields(BenchmarkSettings)} | {"prompt", "structure", "video"}


def test_all_ten_are_there():
    assert set(BENCHMARKS) == set(NUM_ROWS)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_composes_to_settings(name):
    settings = settings_of(name)
    assert settings.name == name and settings.num_rows == NUM_ROWS[name]
    assert settings.licence and settings.origin


@pytest.mark.parametrize("name", BENCHMARKS)
def test_opens_with_a_sentence_and_a_command(name):
    file = CONF / "benchmark" / f"{name}.yaml"
    assert len(first_sentence(file)) > 20
    assert file.read_text(encoding="utf-8").splitlines()[1].startswith(f"# python evaluate.py benchmark={name} ")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_model_can_be_asked(name):
    node = OmegaConf.to_container(benchmark_node(name), resolve=True)
    budget = FrameBudget(**node["video"]["budget"])
    assert budget.max_frames == (48 if name == "synthetic" else None)  # the released evaluation sets no limit
    wordings = {key: PromptWording(**wording) for key, wording in node["prompt"]["wordings"].items()}
    assert node["prompt"]["evaluation"] in wordings
    # room for the answer and, by the released budget, for the video: total_pixels / 784 tokens
    assert node["max_context_tokens"] - node["max_new_tokens"] > budget.total_pixels / 784


def test_et_bench_leaves_the_form_of_the_answer_to_the_question():
    wording = benchmark_node("et_bench").prompt.wordings.timestamp.after_video
    assert wording.startswith("{query}") and "<answer>" in wording and "start-end" not in wording
