import pytest

from museg.config import sharding_rules
from museg.config.validation import InvalidConfiguration, checked_settings
from museg.policy import log_probs
from museg.policy.lora import PROJECTIONS
from tests.config.options import compose, jobs_of

NO_TARGETS = [f"model.lora.targets.{name}=false" for name in PROJECTIONS]


def places(*overrides):
    """Where the rules complain."""
    with pytest.raises(InvalidConfiguration) as caught:
        checked_settings(compose(*overrides))
    return [violation.place for violation in caught.value.violations]


def test_settings_are_plain_and_complete():
    settings = checked_settings(compose("phase.steps=30", "phase.total_steps=60", "seed=3"))
    assert settings["phase"]["phases"]["timestamp"]["num_steps"] == 30
    assert settings["model"]["seed"] == 3
    assert type(settings) is dict and type(settings["optimizer"]["betas"]) is list


def test_every_annotation_file_that_is_not_there_is_told(tmp_path):
    names = ("alignment.files.llava_558k_with_webvid", "instruction.files.llava_665k_with_video_chatgpt")
    files = [f"dataset.stages.{name}" for name in (*names, "time_sensitive.files.et_instruct")]
    given = ["cold_start=none", "dataset=meco", f"dataset.video_root={tmp_path}", "dataset.held_out_share=0"]
    missing = [f"{file}.file" for file in files]
    of_words = ["dataset.stages.alignment", "dataset.stages.instruction"]  # from which method=museg does not learn
    assert places(*given) == [*missing, *of_words]
    limits = [f"{files[0]}.min_duration_s=-1", f"{files[1]}.format=csv"]
    found = places(*given, *limits)  # a format that nobody knows may hold times
    assert found == [f"{files[0]}.min_duration_s", f"{files[1]}.format", *missing, of_words[0]]


def test_all_violations_are_told_at_once_with_rule_value_and_remedy():
    with pytest.raises(InvalidConfiguration) as caught:
        checked_settings(
            compose("optimizer.lr=-1", "phase.steps=901", "prompt.evaluation=timestmap", "rollout.num_generations=1")
        )
    message = str(caught.value)
    assert "4 settings to change" in message
    assert "optimizer.lr: must be a finite number > 0; found -1.0" in message
    assert "phase.total_steps=900 (phase.steps=901)" in message
    assert "prompt.evaluation: must name a wording" in message and "choose one of ['plain', 'timestamp']" in message
    assert "rollout.num_generations: must be 2 or more" in message and "method=sft" in message


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (["phase.phases.plain.prompt=absent"], "phase.phases.plain.prompt"),
        (["++phase.phases.plain.rewards.absent=false"], "phase.phases.plain.rewards.absent"),
        (
            [f"++phase.phases.plain.rewards.{term}=false" for term in ("format", "coverage", "local")],
            "phase.phases.plain.rewards",
        ),
        (["++reward.weights.absent=1"], "reward"),
        (["+reward.terms.extra.penalty=1"], "reward.terms.extra"),
        (["phase.phases.timestamp.num_steps=null"], "phase"),
        (["video.budget.min_frames=100"], "video.budget"),
        (["dataset.max_target_segments=0"], "dataset"),
        (["rollout.max_context_tokens=30"], "rollout.max_context_tokens"),
        (["video=museg", "rollout.max_context_tokens=3600"], "rollout.max_context_tokens"),
        (["trainer.devices=15"], "prompts_per_step"),
        (["trainer.devices=several"], "trainer.devices"),
        (["trainer.precision=bf16-true"], "trainer.precision"),
        (["trainer.strategy=fsdp"], "trainer.strategy"),
        (["trainer=fsdp", "trainer.compile=true"], "trainer.compile"),
        (["trainer=fsdp", "logger=wandb", "logger.wandb.best_model=true"], "logger.wandb.best_model"),
        (
            ["trainer=fsdp", "trainer.micro_batch_prompts=5", "objective.shared_prefix=false"],
            "trainer.micro_batch_prompts",
        ),
        (["trainer=fsdp", "trainer.micro_batch_prompts=33", "method=sft"], "trainer.micro_batch_prompts"),
        (["model=qwen2_5_vl_3b", "model.dtype=bfloat16"], "model.dtype"),
        (["optimizer.betas=[0.9]"], "optimizer.betas"),
        (["optimizer.kind=sgd"], "optimizer.kind"),
        (["optimizer.kind=paged_adamw_8bit"], "optimizer.kind"),
        (["optimizer.kind=adamw_8bit", "trainer=fsdp"], "optimizer.kind"),
        (["model.lora.rank=-1"], "model.lora.rank"),
        (["model.lora.alpha=0"], "model.lora.alpha"),
        (["model.lora.dropout=1"], "model.lora.dropout"),
        (["model.lora.rank=4", *NO_TARGETS], "model.lora.targets"),
        (["model.lora.rank=4", "model.lora.dropout=0.1", "objective.importance=mask"], "objective.importance"),
        (["optimizer.shape=stepwise"], "optimizer.shape"),
        (["cold_start.target_mean_iou=60"], "cold_start.target_mean_iou"),
        (["~trainer"], "trainer"),
        (["method._target_=os.system"], "method._target_"),
        (["name=${absent}"], "name"),
    ],
)
def test_each_rule(overrides, place):
    assert places(*overrides) == [place]


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("ddpp", "did you mean trainer.strategy=ddp?"),
        ("DDP", "did you mean trainer.strategy=ddp?"),
        ("deepspeed_stage_2", "did you mean trainer=zero2?"),
        ("deepspeed_stage_3", "did you mean trainer=zero3?"),
        ("zero2", "did you mean trainer=zero2?"),
        ("zero3", "did you mean trainer=zero3?"),
        ("FSDPStrategy", "did you mean trainer=fsdp?"),
        (None, "choose one of these"),
        ({"stage": 3}, "choose one of these"),
        ({"_target_": "lightning.pytorch.strategies.DeepSpeedStrategy", "stage": 3}, "choose one of these"),
    ],
)
def test_strategies_that_no_rule_and_no_count_knows_are_refused(asked, remedy):
    [violation] = sharding_rules.strategy({"trainer": {"strategy": asked}})
    assert violation.place == "trainer.strategy" and violation.remedy == remedy


def test_weights_that_an_adapter_leaves_alone_may_be_bfloat16():
    checked_settings(compose("model=qwen2_5_vl_3b", "cold_start=none", "model.dtype=bfloat16", "model.lora.rank=16"))


def test_one_completion_per_prompt_is_enough_for_supervision():
    checked_settings(compose("method=sft", "rollout.num_generations=1"))


def test_as_many_completions_as_make_one_pass_may_be_sharded():
    # 4 prompts with 8 completions each are the 32 rows that go through the decoder together
    assert sharding_rules.ROWS_PER_PASS == log_probs.ROWS_PER_PASS
    checked_settings(compose("trainer=fsdp", "trainer.micro_batch_prompts=4", "objective.shared_prefix=false"))
    checked_settings(compose("trainer=fsdp", "trainer.micro_batch_prompts=14"))


def test_flash_attention_by_name_needs_half_precision_on_a_gpu(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: True)
    asked = ("model=qwen2_5_vl_3b", "model.attention=flash_attention_2")
    for trainer in (["trainer=cpu"], ["trainer=single_gpu", "trainer.precision=32-true"]):
        with pytest.raises(InvalidConfiguration, match="computes in half precision on a GPU"):
            checked_settings(compose(*asked, *trainer))
    checked_settings(compose(*asked, "trainer=single_gpu"))
    checked_settings(compose("model=qwen2_5_vl_3b", "model.attention=auto", "trainer=cpu"))


def test_files_that_are_not_there():
    with pytest.raises(InvalidConfiguration) as caught:
        checked_settings(compose("dataset=jsonl", "dataset.train_file=/absent.jsonl", "dataset.video_root=/absent"))
    assert [violation.place for violation in caught.value.violations] == ["dataset.train_file", "dataset.video_root"]


def test_what_is_not_set_hides_no_other_violation():
    assert places("dataset=museg", "rollout.num_generations=1") == [
        "dataset.stage_1",
        "dataset.stage_2",
        "dataset.video_root",
        "rollout.num_generations",
    ]


def test_a_cold_start_needs_held_out_examples():
    (config,) = jobs_of("dataset/museg", "dataset.held_out_share=0")
    with pytest.raises(InvalidConfiguration, match=r"dataset\.held_out_share"):
        checked_settings(config)
    (config,) = jobs_of("dataset/museg", "dataset.held_out_share=0", "cold_start=none")
    checked_settings(config)  # the released recipe trains on every row


@pytest.mark.parametrize(
    ("overrides", "package"),
    [
        (["logger=wandb"], "wandb"),
        (["logger=tensorboard"], "tensorboard"),
        (["trainer=zero2"], "deepspeed"),
        (["model=qwen2_5_vl_3b", "model.attention=flash_attention_2"], "flash"),
        (["model.lora.rank=4"], "peft"),
        (["optimizer.kind=adamw_8bit"], "bitsandbytes"),
    ],
)
def test_a_package_that_is_not_installed(overrides, package, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidConfiguration, match=f"needs the package {package}.*pip install"):
        checked_settings(compose(*overrides))
