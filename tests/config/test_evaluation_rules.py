import shutil

import pytest

from museg.config.command_line import EVALUATE, checked_arguments, composed_jobs, output_folder
from museg.config.validation import checked_evaluation
from tests.config.options import CONF

PREDICTIONS = __file__
"""Any file will do: nothing is read before the settings are checked."""


def complaint(*overrides: str) -> str:
    (config,) = composed_jobs(overrides, CONF, "evaluate", is_multirun=False)
    with pytest.raises(ValueError) as caught:
        checked_evaluation(config)
    return str(caught.value)


def accepted(*overrides: str) -> dict:
    (config,) = composed_jobs(overrides, CONF, "evaluate", is_multirun=False)
    return checked_evaluation(config)


def test_exactly_one_thing_is_asked_for():
    assert "exactly one of these must be given" in complaint()
    assert "['predictions', 'completions']" in complaint(f"predictions={PREDICTIONS}", f"completions={PREDICTIONS}")
    assert accepted(f"predictions={PREDICTIONS}")["benchmark"]["name"] == "synthetic"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["predictions=/absent.jsonl"], "predictions: must be a file"),
        (["completions=/absent.jsonl"], "completions: must be a file"),
        (["checkpoint=/absent"], "must be a folder (a training run, or a Hugging Face checkpoint) or a name on the"),
        (["checkpoint=tests/absent"], "must be a folder"),
        (["compare=[/absent]"], "must name two or more evaluations"),
        (["compare=[/absent,/gone]"], "must name folders with a samples.jsonl"),
        (["benchmark.annotations=/absent.json", f"predictions={PREDICTIONS}"], "must be an annotation file"),
        (["benchmark=jsonl", f"predictions={PREDICTIONS}"], "benchmark.annotations: must be set"),
        (["benchmark.prompt.evaluation=sung", f"predictions={PREDICTIONS}"], "choose one of ['plain', 'timestamp']"),
        (
            ["benchmark.structure.prompt.evaluation=sung", f"predictions={PREDICTIONS}"],
            "benchmark.structure.prompt.eval",
        ),
        (
            ["inference.localization.threshold=1", f"predictions={PREDICTIONS}"],
            "inference.localization.threshold: must",
        ),
        (["inference.localization.score=sum", f"predictions={PREDICTIONS}"], "must be one of cosine, probability"),
        (["shard.index=1", f"predictions={PREDICTIONS}"], "needs both index and count"),
        (["shard.index=2", "shard.count=2", "output=x", "checkpoint=a/b"], "must be below shard.count (2)"),
        (["shard.index=0", "shard.count=2", "checkpoint=a/b"], "output: must be given when several processes"),
        (["benchmark.video.budget.min_pixels=99999999", f"predictions={PREDICTIONS}"], "benchmark.video.budget"),
        ([f"output={__file__}", f"predictions={PREDICTIONS}"], "output: must be a folder, or a place where one can be"),
        (["phase.steps=901", f"completions={PREDICTIONS}"], "phase.total_steps"),
        (["inference.batch_size=0", f"predictions={PREDICTIONS}"], "inference.batch_size: must be"),
    ],
)
def test_each_rule(overrides, message):
    assert message in complaint(*overrides)


def test_all_violations_at_once():
    found = complaint("predictions=/absent.jsonl", "inference.batch_size=0", "shard.index=1")
    assert "3 settings to change" in found


def test_a_name_on_the_hub_is_a_checkpoint():
    assert accepted("checkpoint=Qwen/Qwen2.5-VL-3B-Instruct")["checkpoint"] == "Qwen/Qwen2.5-VL-3B-Instruct"


@pytest.mark.parametrize("variable", ["WORLD_SIZE", "SLURM_ARRAY_TASK_COUNT", "SLURM_STEP_NUM_TASKS"])
def test_several_processes_need_a_place_to_meet(variable, monkeypatch):
    monkeypatch.setenv(variable, "2")
    assert "output: must be given" in complaint("checkpoint=a/b")
    assert accepted("checkpoint=a/b", "output=x")["output"] == "x"
    monkeypatch.setenv(variable, "1")  # alone
    assert accepted("checkpoint=a/b")["output"] is None


def test_captions_need_java_and_the_extra(monkeypatch):
    wanted = ("benchmark=et_bench", f"predictions={PREDICTIONS}")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "needs Java" in complaint(*wanted) and "captions=false" in complaint(*wanted)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = complaint(*wanted, "captions=false")
    assert "needs the package sentence-transformers" in found and "pip install -e '.[etbench]'" in found
    assert "pycocoevalcap" not in found
    assert "java" not in complaint("benchmark=thumos14", "predictions=/absent").lower()


def test_output_is_the_run_folder():
    assert output_folder(["output=here"]) == ["hydra.run.dir='here'"]
    assert output_folder(["predictions=x"]) == output_folder(["output=null"]) == []
    (named,) = output_folder(["compare=[a,b]"])
    assert named.startswith("hydra.run.dir='outputs/evaluation/compare/")
    assert output_folder(["output=here"], True) == ["hydra.sweep.dir='here'"]  # members have folders in it
    assert output_folder(["completions=x"], True) == []
    with pytest.raises(ValueError, match=r"leave hydra\.run\.dir out"):
        output_folder(["output=here", "hydra.run.dir=there"])


def test_help_names_the_groups_of_this_program_only(capsys):
    with pytest.raises(SystemExit):
        checked_arguments(["--help"], CONF, EVALUATE)
    shown = capsys.readouterr().out
    assert "\nbenchmark\n" in shown and "thumos14" in shown
    assert "\noptimizer\n" not in shown


def test_typos_are_answered(capsys):
    for arguments, message in (
        (["benchmark=charades", "predictions=x"], "Did you mean charades_sta?"),
        (["predictons=x"], "Did you mean predictions?"),
    ):
        with pytest.raises(SystemExit) as caught:
            checked_arguments(arguments, CONF, EVALUATE)
        assert caught.value.code == 1
        assert message in capsys.readouterr().err
