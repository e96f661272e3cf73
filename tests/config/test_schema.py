"""A schema names the fields of what receives them: no more, no fewer."""

from dataclasses import fields
from inspect import signature

import pytest

from museg.config import instruction_schema, task_schema, training_schema
from museg.data.annotation_files import AnnotationFile
from museg.data.dataset import jsonl_data, museg_data
from museg.data.instruction_data import et_instruct_data, meco_data
from museg.dialogue.prompts import PromptWording
from museg.phases.schedule import build_schedule
from museg.policy.loading import load_pretrained
from museg.policy.lora import PROJECTIONS, LoraSettings
from museg.policy.rollout import RolloutSettings
from museg.policy.tiny import build_tiny
from museg.rewards.mix import RewardMix
from museg.training import job
from museg.video.budget import FrameBudget
from museg.video.synthetic_layout import SyntheticSettings


def names(schema):
    return {item.name for item in fields(schema)} - {"_target_"}


@pytest.mark.parametrize(
    ("schema", "receiver"),
    [
        (training_schema.OptimizerConfig, job.OptimizerSettings),
        (training_schema.TrainerConfig, job.TrainerSettings),
        (training_schema.ColdStartConfig, job.ColdStartSettings),
        (training_schema.ValidationConfig, job.ValidationSettings),
        (training_schema.VisionFeatureConfig, job.VisionFeatureSettings),
        (training_schema.CheckpointConfig, job.CheckpointSettings),
        (task_schema.GrpoConfig, job.ObjectiveSettings),
        (task_schema.RolloutConfig, RolloutSettings),
        (task_schema.PromptWordingConfig, PromptWording),
        (task_schema.RewardMixConfig, RewardMix),
        (task_schema.FrameBudgetConfig, FrameBudget),
        (task_schema.PhaseScheduleConfig, build_schedule),
        (task_schema.LoraConfig, LoraSettings),
        (task_schema.TinyModelConfig, build_tiny),
        (task_schema.PretrainedModelConfig, load_pretrained),
        (task_schema.MusegDataConfig, museg_data),
        (task_schema.JsonlDataConfig, jsonl_data),
        (instruction_schema.EtInstructDataConfig, et_instruct_data),
        (instruction_schema.MecoDataConfig, meco_data),
        (instruction_schema.AnnotationFileConfig, AnnotationFile),
    ],
    ids=lambda thing: thing.__name__,
)
def test_fields_are_those_of_the_receiver(schema, receiver):
    assert names(schema) == set(signature(receiver).parameters)


def test_an_adapter_may_be_on_any_projection():
    assert names(task_schema.LoraTargetsConfig) == set(PROJECTIONS)


def test_video_is_a_budget_and_the_decoding():
    assert names(task_schema.VideoConfig) == {"budget"} | names(job.DecodingSettings)


def test_synthetic_data_is_a_folder_an_order_and_the_look_of_the_clips():
    assert names(task_schema.SyntheticDataConfig) == {"root", "order"} | names(SyntheticSettings)
